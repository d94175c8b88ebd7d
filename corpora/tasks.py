"""Cutting the input into tasks, and knowing whether what an earlier try left behind belongs to the same work."""

import json
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from corpora.sources.slices import Slice
from hanlm.files import replace_text
from hanlm.log import say
from hanlm.provenance import source_hash
from hanlm.publish import package_versions

_KEY = "key.json"


def cut_into_tasks(slices: Sequence[Slice], task_bytes: int) -> list[list[Slice]]:
    """Return neighbouring slices in groups of about ``task_bytes``; how many workers there are plays no part."""
    tasks: list[list[Slice]] = []
    size = 0
    for each in slices:
        if not tasks or size + each.num_bytes > task_bytes:
            tasks.append([])
            size = 0
        tasks[-1].append(each)
        size += each.num_bytes
    return tasks


def begin_or_go_on(folder: Path, config: Mapping[str, Any], slices: Sequence[Slice]) -> bool:
    """Make ``folder`` ready for a build; say whether completed tasks of an earlier try were found.

    What was made from other files, with other settings, or by another version of HanLM or of a library is removed.
    """
    key = sha256(
        json.dumps([config, _states(slices), source_hash(), package_versions()], sort_keys=True).encode()
    ).hexdigest()
    path = folder / _KEY
    if path.is_file() and path.read_text(encoding="utf-8") == key:
        return True
    if path.is_file():
        say("the settings, the files or HanLM itself changed since an earlier try: what it completed is removed")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    replace_text(path, key)
    return False


def _states(slices: Sequence[Slice]) -> list[list[Any]]:
    """What tells that a file is the one it was; its bytes are hashed once, for the manifest."""
    states: list[list[Any]] = []
    for each in slices:
        state = each.path.stat() if each.path.exists() else None
        known = (state.st_size, state.st_mtime_ns) if state else (each.version,)
        states.append([str(each.path), each.start, each.stop, *known])
    return states
