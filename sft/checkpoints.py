"""Checkpoints in OUT.work: which are whole, which one to resume from, and whether it is of this run.

They hold pickles (the optimizer's and the random states), so none is ever loaded from anywhere but the run's own
working folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hanlm.artifact import fsync
from hanlm.errors import ArtifactError

SEAL: Final = "sealed.json"
"""Written last into a checkpoint; one without it was cut off in the middle."""

CHECKPOINTS: Final = "checkpoints"
"""The trainer's folder within OUT.work."""

_SETTINGS = "settings.json"


def seal_checkpoint(folder: Path, seconds: float) -> None:
    """Flush a checkpoint to disk and mark it whole, with the seconds of training it holds."""
    for file in folder.iterdir():
        fsync(file)
    partial = folder / (SEAL + ".partial")
    partial.write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
    fsync(partial)
    partial.rename(folder / SEAL)
    fsync(folder)


def latest_checkpoint(folder: Path) -> tuple[Path, float] | None:
    """Return the last whole checkpoint and its seconds, or None; those cut off by a kill are removed."""
    found: list[tuple[int, Path]] = []
    for checkpoint in folder.glob("checkpoint-*"):
        if (checkpoint / SEAL).is_file():
            found.append((int(checkpoint.name.rpartition("-")[2]), checkpoint))
        else:
            shutil.rmtree(checkpoint)
    if not found:
        return None
    last = max(found)[1]
    return last, float(json.loads((last / SEAL).read_text(encoding="utf-8"))["seconds"])


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
    file.write_text(json.dumps(settings, ensure_ascii=False, indent=1, default=str), encoding="utf-8")


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    plain = json.loads(json.dumps(new, default=str))
    return sorted(key for key in {*old, *plain} if old.get(key) != plain.get(key))
