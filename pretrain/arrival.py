"""How the processes of a run come together: who is missing, who runs other code, who does not see the shared storage.

Works under any launcher that sets torchrun's variables; a run of one process skips it.
"""

import json
import os
import secrets
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from hanlm.artifact import MANIFEST
from hanlm.files import replace_text
from hanlm.nodes import DEFAULT_START_SECONDS, this_node
from hanlm.roll_call import MissingNodes, Presence, code_versions, roll_call

_PROBE = "probe"
_SHORT = 12
_TICK_SECONDS = 0.1
_SHARED_SECONDS = 5.0
"""How long a file that another node wrote may stay unseen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Meeting:
    """What the processes have to share, and how patient they are."""

    work: Path | None = None
    """A folder that the first process writes to and all nodes have to see."""
    inputs: tuple[Path, ...] = ()
    """Files and folders that have to be the same on all nodes."""
    start_seconds: float = DEFAULT_START_SECONDS
    """How long to wait for the last process."""
    step_seconds: float = 1800.0
    """How long a process waits for another one within a step, a validation or a save."""


def meet(meeting: Meeting) -> tuple[Any, int, int]:
    """Wait for all processes of a torchrun and compare them.

    Returns:
        The store for the process group, this process's rank, the number of processes.

    Raises:
        MissingNodes: If a process did not come in time; names it and its node.
        ConfigError: If nodes run different code or do not see the same files.
    """
    from torch.distributed import PrefixStore, rendezvous

    store, rank, world_size = next(rendezvous("env://", timeout=timedelta(seconds=meeting.step_seconds)))
    hall = PrefixStore("roll-call", store)
    with _probe(meeting.work, hall, is_main=rank == 0) as probe:
        presence = _presence(meeting, hall, probe)
        per_node = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        names = [f"process {i}" for i in range(world_size)]
        roll_call(hall, presence, index=rank, names=names, seconds=meeting.start_seconds, per_node=per_node)
    store.set_timeout(timedelta(seconds=meeting.step_seconds))
    return PrefixStore("group", store), rank, world_size


@contextmanager
def _probe(work: Path | None, hall: Any, *, is_main: bool) -> Generator[Path | None]:
    """On the first process: a file with a name that nobody could have guessed, for as long as the block lasts."""
    if work is None or not is_main:
        yield None
        return
    path = work / f".seen-{secrets.token_hex(8)}"
    work.mkdir(parents=True, exist_ok=True)
    try:
        replace_text(path, path.name)
        hall.set(_PROBE, json.dumps({"name": path.name, "node": this_node()}))
        yield path
    finally:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # it holds more
            work.rmdir()


def _presence(meeting: Meeting, hall: Any, probe: Path | None) -> Presence:
    node = this_node()
    if os.environ.get("LOCAL_RANK", "0") != "0":  # one process looks for its whole node
        return Presence(node=node)
    trouble = ""
    if meeting.work is not None and probe is None:
        trouble = _look_for_probe(meeting, meeting.work, hall, node)
    inputs = {str(path): _outline(path) for path in meeting.inputs}
    return Presence(node=node, versions=code_versions(), inputs=inputs, trouble=trouble)


def _look_for_probe(meeting: Meeting, work: Path, hall: Any, node: str) -> str:
    until = time.monotonic() + meeting.start_seconds
    while not hall.check([_PROBE]):
        if time.monotonic() > until:
            raise MissingNodes(
                f"process 0 at {os.environ.get('MASTER_ADDR')} did not come within {meeting.start_seconds:g} s; look "
                "at its log, and run the same command again."
            )
        time.sleep(_TICK_SECONDS)
    told = json.loads(hall.get(_PROBE))
    until = time.monotonic() + _SHARED_SECONDS
    while not (work / told["name"]).is_file():
        if time.monotonic() > until:
            return (
                f"{work} on {node} is not the folder of that name on {told['node']}: checkpoints need storage that all "
                "nodes share; choose --out there."
            )
        time.sleep(_TICK_SECONDS)
    return ""


def _outline(path: Path) -> str:
    """Return what tells copies of an input apart at little cost: its manifest, or else its files' names and sizes."""
    manifest = path / MANIFEST
    if manifest.is_file():
        return sha256(manifest.read_bytes()).hexdigest()[:_SHORT]
    files: Sequence[Path] = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    listed = [(str(p.relative_to(path)), p.stat().st_size) for p in files]
    return sha256(json.dumps(listed).encode()).hexdigest()[:_SHORT] if listed else "missing"
