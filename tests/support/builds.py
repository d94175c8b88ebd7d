"""``hanlm corpus build`` as a process of its own, for tests that kill it or its workers."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

NUM_FILES = 12
"""Files of ``write_input``, and tasks of a build of them."""
_CHARS = (
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分"
    "对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经"
)


def write_input(folder: Path, *, num_documents: int = 40) -> Path:
    """Write ``NUM_FILES`` files of distinct Chinese documents, each big enough to be a task."""
    folder.mkdir(parents=True)
    random_ = random.Random(7)
    for number in range(NUM_FILES):
        with (folder / f"{number:02}.jsonl").open("w", encoding="utf-8") as file:
            for line in range(num_documents):
                text = "".join(random_.choices(_CHARS, k=200))
                file.write(json.dumps({"id": f"{number}-{line}", "text": text}, ensure_ascii=False) + "\n")
    return folder


@dataclass
class Build:
    """One command line, which may be run again and again."""

    source: Path
    out: Path
    workers: int = 2
    executor: str = "local"
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    env: dict[str, str] = field(default_factory=dict[str, str])
    prelude: str = ""
    """Python to run in the command's process before the command."""

    @property
    def stage(self) -> Path:
        """The folder of the first stage."""
        return self.out.with_name(self.out.name + ".work") / "build/stages/read"

    @property
    def parts(self) -> Path:
        """What the first stage writes."""
        return self.stage.parents[1] / "parts"

    def start(self) -> subprocess.Popen[str]:
        """Start the command in a process group of its own."""
        settings = self.out.with_name(self.out.name + ".yaml")
        settings.write_text(
            yaml.safe_dump({"task_bytes": 26_000, "valid_fraction": 0.1, **self.options}), encoding="utf-8"
        )
        words = ["corpus", "build", "--config", settings, "--input", self.source, "--out", self.out]
        words += ["--workers", self.workers, "--executor", self.executor]
        call = f"from hanlm.cli import main\nif __name__ == '__main__':\n    main({list(map(str, words))})\n"
        path = self.out.with_name(self.out.name + ".command.py")
        path.write_text(f"{self.prelude}\n{call}", encoding="utf-8")
        return subprocess.Popen(
            [sys.executable, path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | self.env,
            start_new_session=True,
        )

    def run(self) -> dict[str, bytes]:
        """Run the command to its end and return what it published."""
        process = self.start()
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        return self.content()

    def content(self) -> dict[str, bytes]:
        """Return what was published, apart from the manifest, which holds times."""
        return {p.name: p.read_bytes() for p in self.out.iterdir() if p.name != "manifest.json"}

    def completed(self) -> set[int]:
        """Return the tasks of the first stage that are marked as completed."""
        marks = self.stage / "completions"
        return {int(path.name) for path in marks.iterdir()} if marks.is_dir() else set()

    def written(self) -> dict[str, tuple[int, int]]:
        """Return inode and time of change of the parts of completed tasks."""
        completed = {f"{task:05}" for task in self.completed()}
        found = {p.name: p.stat() for p in self.parts.iterdir() if p.name[:5] in completed}
        return {name: (state.st_ino, state.st_mtime_ns) for name, state in found.items()}


def wait_until(condition: Callable[[], Any], seconds: float = 60.0, every: float = 0.01) -> Any:
    """Return what ``condition`` returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(every)
    return found


def descendants(pid: int) -> set[int]:
    """Return the processes that a process started, and those that they started."""
    children: dict[int, list[int]] = {}
    for number, parent in _parents():
        children.setdefault(parent, []).append(number)
    found: set[int] = set()
    new = [pid]
    while new:
        new = [child for each in new for child in children.get(each, []) if child not in found]
        found.update(new)
    return found


def is_running(pid: int) -> bool:
    """Say whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def command_line(pid: int) -> str:
    """Return a process's command line; nothing where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def kill_all(pids: set[int]) -> None:
    """Kill what is left of these processes."""
    for pid in pids:
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                yield int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
