"""What a task on another machine failed with, written beside its stage for the process that waits for it."""

import json
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hanlm import errors
from hanlm.errors import HanLMError
from hanlm.files import replace_text


def keep_failure(folder: Path, rank: int, error: Exception) -> None:
    """Write down what task ``rank`` of the stage in ``folder`` failed with."""
    kept: dict[str, Any] = {"type": type(error).__name__, "message": str(error), "hanlm": False, "os_error": None}
    if isinstance(error, HanLMError):
        kept["hanlm"] = True
    elif isinstance(error, OSError) and error.errno is not None:
        kept["os_error"] = [error.errno, error.strerror, error.filename and str(error.filename)]
    kept["traceback"] = "".join(traceback.format_exception(error))
    path = _path(folder, rank)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(kept))


def forget_failure(folder: Path, rank: int) -> None:
    """Remove what an earlier try of a task failed with."""
    _path(folder, rank).unlink(missing_ok=True)


def first_failure(folder: Path, ranks: Iterable[int]) -> Exception | None:
    """Return what the first of these tasks that failed has failed with, as the same kind of error, if any has."""
    listed = {path.name for path in (folder / "failures").glob("*.json")}
    for rank in ranks:
        if (path := _path(folder, rank)).name in listed:
            return _restored(rank, json.loads(path.read_text(encoding="utf-8")))
    return None


def _restored(rank: int, kept: dict[str, Any]) -> Exception:
    if kept["hanlm"]:
        return getattr(errors, kept["type"], HanLMError)(kept["message"])
    if kept["os_error"] is not None:
        return OSError(*kept["os_error"])
    return RuntimeError(f"task {rank} failed with a bug; there it said:\n{kept['traceback']}")


def _path(folder: Path, rank: int) -> Path:
    return folder / f"failures/{rank:05}.json"
