"""Artifacts: finished folders with a manifest, whose files are hashed and belong together."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hanlm.errors import ArtifactError, InputError
from hanlm.files import sha256_of

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
KINDS = ("corpus", "dataset", "tokenizer", "tokens", "model", "adapter", "sft", "gguf", "report")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished artifact, opened and checked."""

    path: Path
    kind: str
    manifest: dict[str, Any]
    hash: str


def open_artifact(path: Path, kind: str, *, verify: bool = True) -> Artifact:
    """Open a finished artifact; with ``verify`` every file's size and hash is checked.

    Raises:
        InputError: If there is nothing at ``path``.
        ArtifactError: If it is unfinished, of another kind, or a file was changed; names the file.
    """
    if not path.exists():
        raise InputError(f"expected a {kind} artifact at {path}, but there is nothing; check the path.")
    manifest = read_manifest(path)
    if manifest is None:
        raise ArtifactError(
            f"{path} holds no finished {kind}: {MANIFEST} is missing. "
            f"Run the stage that writes it, or pass a different path."
        )
    if manifest["kind"] != kind:
        raise ArtifactError(f"expected a {kind} artifact at {path}, got a {manifest['kind']}; pass a different path.")
    if verify:
        verify_files(path, manifest["files"])
    return Artifact(path=path, kind=kind, manifest=manifest, hash=manifest_hash(manifest))


def verify_once(path: Path) -> None:
    """Check every file of an artifact, if ``path`` is one; each artifact once in a process.

    Raises:
        ArtifactError: If a file was changed or damaged; names it.
    """
    if (manifest := read_manifest(path)) is not None:
        _verify_state(path.resolve(), manifest["kind"], (path / MANIFEST).stat().st_mtime_ns)


@cache
def _verify_state(path: Path, kind: str, _mtime_ns: int) -> None:
    open_artifact(path, kind)


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Return the manifest of an artifact, or None for a folder without one.

    Raises:
        ArtifactError: If the manifest is there but cannot be read.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, OSError) as error:
        raise ArtifactError(f"{path / MANIFEST} is corrupt ({error}); run the stage that writes it again.") from error
    if not isinstance(manifest, dict) or manifest.get("schema_version") != SCHEMA_VERSION or "files" not in manifest:
        raise ArtifactError(
            f"{path / MANIFEST} is not a manifest of schema {SCHEMA_VERSION}; "
            "it was written by another version of HanLM or another program: run the stage again."
        )
    return manifest


def fingerprint(path: Path) -> str:
    """Return a hash that changes when an input changes: of the manifest, of the file, or of all files."""
    if (manifest := read_manifest(path)) is not None:
        return manifest_hash(manifest)
    if path.is_file():
        return sha256_of(path)
    if not path.is_dir():
        raise InputError(f"{path} does not exist; check the path.")
    total = hashlib.sha256()
    for p in sorted(path.rglob("*")):
        if p.is_file():
            total.update(f"{p.relative_to(path)}\0{sha256_of(p)}\n".encode())
    return total.hexdigest()


def manifest_hash(manifest: Mapping[str, Any]) -> str:
    """Return the hash that names an artifact: over its kind, tokenizer, mix and files, not over when it was made.

    So a stage that is run again and yields the same bytes leaves what depends on it up to date.
    """
    lasting = {key: manifest[key] for key in ("kind", "schema_version", "tokenizer_hash", "files")}
    lasting |= {key: manifest[key] for key in ("mix",) if key in manifest}  # decides what is made of the files
    return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()


def verify_files(path: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Check files of an artifact against the entries of its manifest.

    Raises:
        ArtifactError: If one is missing or was changed; names it.
    """
    for name, expected in files.items():
        file = path / name
        if not file.is_file():
            raise ArtifactError(f"{file} is missing from its artifact; run the stage that writes it again.")
        if (size := file.stat().st_size) != expected["num_bytes"]:
            raise ArtifactError(
                f"{file} should hold {expected['num_bytes']} bytes, got {size}: it was cut or changed after it was "
                "published; run the stage that writes it again."
            )
        if sha256_of(file) != expected["sha256"]:
            raise ArtifactError(
                f"{file} fails its checksum: it was changed or damaged after it was published; "
                "run the stage that writes it again."
            )
