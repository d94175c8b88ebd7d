"""Checkpoints in OUT.work: which are whole, which one to resume from, and whether it is of this run.

They hold pickles (the optimizer's and the random states), so none is ever loaded from anywhere but the run's own
working folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hanlm.artifact import MANIFEST, SCHEMA_VERSION, open_artifact
from hanlm.errors import ArtifactError
from hanlm.files import replace_text
from hanlm.publish import seal

CHECKPOINTS: Final = "checkpoints"
"""The trainer's folder within OUT.work."""

_SETTINGS = "settings.json"
_KIND = "checkpoint"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint."""

    path: Path
    step: int
    seconds: float
    """Training time it holds."""


def seal_checkpoint(folder: Path, seconds: float) -> None:
    """Flush a checkpoint to disk and mark it whole by a manifest, with the seconds of training it holds."""
    seal(folder, {"kind": _KIND, "schema_version": SCHEMA_VERSION, "tokenizer_hash": None, "seconds": seconds})


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the last whole checkpoint, or None; those cut off by a kill are removed.

    Raises:
        ArtifactError: If it was damaged since it was written.
    """
    found: list[tuple[int, Path]] = []
    for checkpoint in folder.glob("checkpoint-*"):
        if (checkpoint / MANIFEST).is_file():
            found.append((int(checkpoint.name.rpartition("-")[2]), checkpoint))
        else:
            shutil.rmtree(checkpoint)
    if not found:
        return None
    step, last = max(found)
    try:
        manifest = open_artifact(last, _KIND).manifest
    except ArtifactError as error:
        raise ArtifactError(f"{error} Or remove {last} to go on from an earlier checkpoint.") from error
    return Checkpoint(last, step, float(manifest["seconds"]))


def claim_work(work: Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
    """Make ``work`` the working folder of a run with these settings.

    Raises:
        ArtifactError: If it holds an unfinished run with other settings and ``overwrite`` is not given.
    """
    file = work / _SETTINGS
    if file.is_file() and (work / CHECKPOINTS).is_dir():
        changed = _differences(json.loads(file.read_text(encoding="utf-8")), settings)
        if changed and not overwrite:
            raise ArtifactError(
                f"{work} holds an unfinished run with other settings ({', '.join(changed)}): repeat its command to "
                "resume it, or pass --overwrite to drop it."
            )
        if changed:
            shutil.rmtree(work / CHECKPOINTS, ignore_errors=True)
            (work / "metrics.jsonl").unlink(missing_ok=True)
    replace_text(file, json.dumps(settings, ensure_ascii=False, indent=1, default=str))


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    plain = json.loads(json.dumps(new, default=str))
    return sorted(key for key in {*old, *plain} if old.get(key) != plain.get(key))
