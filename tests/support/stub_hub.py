"""A model hub of this machine that the real clients (huggingface_hub, datasets) talk to over HTTP."""

import json
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override
from urllib.parse import unquote, urlsplit


@dataclass
class StubHub:
    """One data set with several commits."""

    repo: str
    """``org/name``."""
    commits: Mapping[str, Mapping[str, bytes]]
    """Files by path, by commit: 40 hexadecimal digits."""
    branches: dict[str, str]
    """Commit of each branch and tag; may be changed while the hub runs."""
    broken: set[str] = field(default_factory=set[str])
    """Paths of files that nobody may have: an answer that the clients do not wait to see changed."""
    moves: dict[str, str] = field(default_factory=dict[str, str])
    """What the branches become as soon as one was asked for."""
    url: str = ""

    def environment(self, home: str) -> dict[str, str]:
        """Return the variables that send the clients here."""
        return {"HF_ENDPOINT": self.url, "HF_HUB_OFFLINE": "0", "HF_HOME": home, "NO_PROXY": "127.0.0.1"}

    def commit(self, revision: str) -> str | None:
        """Return the commit that a branch, a tag or a commit names."""
        found = revision if revision in self.commits else self.branches.get(revision)
        if revision in self.branches:
            self.branches |= self.moves
        return found


@contextmanager
def running(hub: StubHub) -> Generator[StubHub]:
    """Serve the hub on a free port within this block."""

    class Handler(_Handler):
        served = hub

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hub.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield hub
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    served: StubHub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        """Answer the three questions that the clients ask: what is a revision, what lies in it, what is in a file."""
        hub, path = self.served, unquote(urlsplit(self.path).path)
        about, files = f"/api/datasets/{hub.repo}", f"/datasets/{hub.repo}/resolve/"
        if path == about:
            self._tell_revision("main")
        elif path.startswith(f"{about}/revision/"):
            self._tell_revision(path.removeprefix(f"{about}/revision/"))
        elif path.startswith(f"{about}/tree/"):
            revision, _, folder = path.removeprefix(f"{about}/tree/").partition("/")
            self._list(hub.commits[hub.commit(revision) or ""], folder)
        elif path.startswith(files):
            revision, _, name = path.removeprefix(files).partition("/")
            self._send_file(hub.commit(revision), name)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "RepoNotFound")

    def _tell_revision(self, revision: str) -> None:
        if (commit := self.served.commit(revision)) is None:
            self._refuse(HTTPStatus.NOT_FOUND, "RevisionNotFound")
            return
        siblings = [{"rfilename": name} for name in self.served.commits[commit]]
        self._send_json({"id": self.served.repo, "sha": commit, "private": False, "tags": [], "siblings": siblings})

    def _list(self, files: Mapping[str, bytes], folder: str) -> None:
        before = f"{folder}/" if folder else ""
        inside = [name.removeprefix(before) for name in files if name.startswith(before)]
        folders = sorted({name.split("/")[0] for name in inside if "/" in name})
        entries: list[dict[str, Any]] = [{"type": "directory", "path": before + name, "oid": name} for name in folders]
        entries += [
            {
                "type": "file",
                "path": before + name,
                "size": len(files[before + name]),
                "oid": _oid(files[before + name]),
            }
            for name in inside
            if "/" not in name
        ]
        self._send_json(entries)

    def _send_file(self, commit: str | None, name: str) -> None:
        content = self.served.commits.get(commit or "", {}).get(name)
        if name in self.served.broken:
            self._refuse(HTTPStatus.FORBIDDEN, "GatedRepo")
        elif content is None:
            self._refuse(HTTPStatus.NOT_FOUND, "EntryNotFound")
        else:
            wanted = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            begin, end = int(wanted[0]), int(wanted[2] or len(content) - 1)
            told = {"X-Repo-Commit": str(commit), "ETag": f'"{_oid(content)}"', "Accept-Ranges": "bytes"}
            if "Range" in self.headers:
                told["Content-Range"] = f"bytes {begin}-{min(end, len(content) - 1)}/{len(content)}"
            self._send(
                HTTPStatus.PARTIAL_CONTENT if "Range" in self.headers else HTTPStatus.OK, content[begin : end + 1], told
            )

    def _send_json(self, value: Any) -> None:
        self._send(HTTPStatus.OK, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: HTTPStatus, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code})

    def _send(self, status: HTTPStatus, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _oid(content: bytes) -> str:
    return sha1(content, usedforsecurity=False).hexdigest()
