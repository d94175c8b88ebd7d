"""Checkpoints: distributed, checksummed, atomic, and named by a tracker that never names a half-written one.

``OUT.work/checkpoints/step-0000100`` is complete because it was renamed to that name after everything in it was
hashed and fsynced; ``latest.json`` is replaced after that. A kill at any moment leaves at most a
``.partial`` folder, which the next run removes.
"""

import json
import queue
import shutil
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlm.artifact import SCHEMA_VERSION, open_artifact
from hanlm.errors import ArtifactError
from hanlm.files import replace_text
from hanlm.megatron import megatron_import
from hanlm.publish import seal
from pretrain.parallel import Place

_TRACKER = "latest.json"
_KIND = "checkpoint"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A finished checkpoint."""

    path: Path
    step: int
    state: Mapping[str, Any]
    """What the loop recorded beside the tensors."""


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, place: Place, *, keep: int) -> None:
        self.folder, self.place, self._keep = folder, place, keep

    def clean(self) -> None:
        """Remove what a killed run left half-written; call it on every process."""
        if self.place.is_main:
            for partial in self.folder.glob("*.partial"):
                shutil.rmtree(partial)
        self.place.barrier()

    def discard(self) -> None:
        """Remove every checkpoint; call it on every process."""
        self.place.barrier()
        if self.place.is_main:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.place.barrier()

    def save(self, tensors: dict[str, Any], *, step: int, state: Mapping[str, Any]) -> None:
        """Write one checkpoint; call it on every process.

        Args:
            tensors: Megatron's sharded state dict.
            step: Names the checkpoint.
            state: Plain values to record with it.
        """
        with megatron_import():
            from megatron.core import dist_checkpointing
        final = self.path(step)
        partial = final.with_name(final.name + ".partial")
        if self.place.is_main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self.place.barrier()
        _write_in_this_process()
        try:
            dist_checkpointing.save(tensors, str(partial))
            if self.place.is_main:
                names = {"kind": _KIND, "schema_version": SCHEMA_VERSION, "tokenizer_hash": None}
                seal(partial, {**names, "step": step, "state": dict(state)})
                shutil.rmtree(final, ignore_errors=True)
                partial.rename(final)
                self._track(step)
                self._prune(step)
        except BaseException as error:
            if self.place.is_main:
                shutil.rmtree(partial, ignore_errors=True)
            if "OSError" in str(error):  # megatron-core keeps no more of the cause than this name
                raise ArtifactError(
                    f"the checkpoint of step {step} could not be written to {self.folder}: is there space left? "
                    "Earlier checkpoints are untouched: free some space and run the same command again."
                ) from error
            raise
        self.place.barrier()

    def go_back_to(self, step: int) -> None:
        """Make an older checkpoint the latest; call it on every process. The next save removes those after it."""
        if self.place.is_main:
            self._track(step)
        self.place.barrier()

    def find(self, step: int | None = None) -> Checkpoint | None:
        """Return the checkpoint of a step, or the one that the tracker names, or None where there is no tracker.

        Raises:
            ArtifactError: If it is missing or damaged.
        """
        if step is None:
            try:
                step = int(json.loads((self.folder / _TRACKER).read_text(encoding="utf-8"))["step"])
            except FileNotFoundError:
                return None
            except (ValueError, KeyError, TypeError) as error:
                raise ArtifactError(
                    f"{self.folder / _TRACKER} is damaged; pass --resume-step with one of {self._steps()}."
                ) from error
        path = self.path(step)
        if not path.is_dir():
            raise ArtifactError(
                f"expected the checkpoint of step {step} at {path}, but it is missing; "
                f"pass --resume-step with one of {self._steps()}, or remove {self.folder} to start over."
            )
        try:
            manifest = open_artifact(path, _KIND, verify=self.place.is_main).manifest
        except ArtifactError as error:
            others = [s for s in self._steps() if s != step]
            raise ArtifactError(
                f"{error} To go on from an older checkpoint pass --resume-step with one of {others}, "
                f"or remove {self.folder} to start over."
            ) from error
        return Checkpoint(path, step, manifest["state"])

    def path(self, step: int) -> Path:
        """Return the folder of a step's checkpoint."""
        return self.folder / f"step-{step:07d}"

    def _steps(self) -> list[int]:
        return sorted(int(p.name[5:]) for p in self.folder.glob("step-*") if p.name[5:].isdigit())

    def _track(self, step: int) -> None:
        replace_text(self.folder / _TRACKER, json.dumps({"step": step}))

    def _prune(self, latest: int) -> None:
        """Remove the oldest, and those that a run which went back has left behind it."""
        steps = self._steps()
        kept = [step for step in steps if step <= latest][-self._keep :]
        for step in set(steps) - set(kept):
            shutil.rmtree(self.path(step))


def load(checkpoint: Path, tensors: dict[str, Any]) -> dict[str, Any]:
    """Fill a sharded state dict from a checkpoint, whatever the layout that wrote it."""
    with megatron_import():
        from megatron.core import dist_checkpointing
    with _without_notices():
        return dist_checkpointing.load(tensors, str(checkpoint))  # pyright: ignore[reportReturnType]


@contextmanager
def _without_notices() -> Generator[None]:
    """Mute what torch's loader says of itself: that one process loads alone, and in which order arguments come."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
        warnings.filterwarnings("ignore", message="The argument order of load has been changed")
        yield


def _write_in_this_process() -> None:
    """Keep megatron-core from starting a process to hold a queue.

    Even a synchronous save hands its results over through a ``multiprocessing`` manager, whose process imports
    the main module again: 9 to 13 seconds for a tiny model. The writers are threads, so a plain queue will do.
    """
    from megatron.core.dist_checkpointing.strategies import filesystem_async

    module: Any = filesystem_async
    if module._results_queue is None:
        module._results_queue = queue.Queue()
