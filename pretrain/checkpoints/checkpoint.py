"""Checkpoints: distributed, checksummed, atomic, and named by a tracker that never names a half-written one.

``OUT.work/checkpoints/step-0000100`` is complete because it was renamed to that name after everything in it was
hashed and fsynced; ``latest.json`` is replaced after that. A kill at any moment leaves at most a
``.partial`` folder, which the next run removes.
"""

import json
import shutil
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hanlm.artifact import SCHEMA_VERSION, open_artifact, verify_files
from hanlm.errors import ArtifactError
from hanlm.files import fsync, replace_text
from hanlm.megatron import megatron_import
from hanlm.publish import seal
from pretrain.checkpoints.pending import Hashes, PendingSave, Writing
from pretrain.checkpoints.saving import Saving
from pretrain.parallel import Place

CHECKPOINT_FORMAT = 3
"""Part of what a run has in common with its checkpoints: higher whenever older ones cannot be read any more."""
_TRACKER = "latest.json"
_KIND = "checkpoint"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A finished checkpoint."""

    path: Path
    step: int
    state: Mapping[str, Any]
    """What the loop recorded beside the tensors."""


class Prepare(Protocol):
    """How a backend writes tensors into an empty folder; called on every process."""

    def __call__(self, tensors: dict[str, Any], folder: Path, place: Place, /, *, in_background: bool) -> Writing:
        """Return this process's part of it; in the background, tensors are copied first."""
        ...


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: Where they lie.
        place: This process's place.
        keep: How many of the latest stay.
        saving: When they are written, and which stay besides.
        prepare: How they are written.
    """

    def __init__(self, folder: Path, place: Place, *, keep: int, saving: Saving, prepare: Prepare) -> None:
        self.folder, self.place, self._keep, self._saving, self._prepare = folder, place, keep, saving, prepare
        self._pending: tuple[int, PendingSave] | None = None

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

    def save(
        self,
        tensors: dict[str, Any],
        *,
        step: int,
        state: Mapping[str, Any],
        then: Callable[[Path], None] | None = None,
    ) -> None:
        """Write one checkpoint, or begin to where saving is asynchronous; call it on every process.

        A save that is still going on is waited for: there is never more than one.

        Args:
            tensors: What the backend writes.
            step: Names the checkpoint.
            state: Plain values to record with it.
            then: What to do with the finished checkpoint; called on the main process, before older ones go.

        Raises:
            ArtifactError: If this checkpoint, or the one before it, could not be written.
        """
        self.wait()
        with self._told(step):
            self._begin(tensors, step, dict(state), then)
        if not self._saving.asynchronous:
            self.wait()

    def poll(self) -> None:
        """Let a save that is going on take its next turn, without waiting; call it on every process.

        Raises:
            ArtifactError: If it failed.
        """
        self._advance(until_done=False)

    def wait(self) -> None:
        """Wait until a save that is going on is published; call it on every process.

        Raises:
            ArtifactError: If it failed.
        """
        self._advance(until_done=True)

    def _begin(
        self, tensors: dict[str, Any], step: int, state: dict[str, Any], then: Callable[[Path], None] | None
    ) -> None:
        partial = self._partial(step)
        error = None
        if self.place.is_main:
            try:
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
            except OSError as met:
                error = str(met)
        if told := [text for text in self.place.share(error) if text is not None]:
            raise OSError(told[0])

        def publish(hashes: Hashes) -> None:
            self._publish(step, state, hashes)
            if then is not None:
                then(self.path(step))
            self._prune(step)

        in_background = self._saving.asynchronous
        writing = self._prepare(tensors, partial, self.place, in_background=in_background)
        self._pending = step, PendingSave(writing, self.place, publish, in_background=in_background)

    def _advance(self, *, until_done: bool) -> None:
        if self._pending is None:
            return
        step, save = self._pending
        with self._told(step):
            if save.advance(until_done=until_done):
                self._pending = None

    @contextmanager
    def _told(self, step: int) -> Generator[None]:
        """Forget a save that fails, remove what it has written, and say so in one sentence."""
        try:
            yield
        except BaseException as error:
            self._pending = None
            if self.place.is_main:
                shutil.rmtree(self._partial(step), ignore_errors=True)
            if isinstance(error, OSError):
                raise ArtifactError(
                    f"the checkpoint of step {step} could not be written to {self.folder} ({error}): is there space "
                    "left? Earlier checkpoints are untouched: free some space and run the same command again."
                ) from error
            raise

    def _publish(self, step: int, state: Mapping[str, Any], hashes: Hashes) -> None:
        partial, final = self._partial(step), self.path(step)
        if missing := [name for name in hashes if not (partial / name).is_file()]:
            raise OSError(f"{missing[0]} is not in {partial}; OUT must lie on storage that every process sees")
        names = {"kind": _KIND, "schema_version": SCHEMA_VERSION, "tokenizer_hash": None}
        seal(partial, {**names, "step": step, "state": state}, known=hashes)
        self._remove(step)
        partial.rename(final)
        fsync(self.folder)
        self._track(step)

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
        return Checkpoint(path, step, self._open(path, step)["state"])

    def _open(self, path: Path, step: int) -> Mapping[str, Any]:
        """Return a checkpoint's manifest after its files were checked, each by one process."""
        error, manifest = None, dict[str, Any]()
        try:
            manifest = open_artifact(path, _KIND, verify=False).manifest
            mine = sorted(manifest["files"])[self.place.rank :: self.place.world_size]
            verify_files(path, {name: manifest["files"][name] for name in mine})
        except (ArtifactError, OSError) as damage:
            error = str(damage)
        damages = [text for text in self.place.share(error) if text is not None]
        if damages:
            others = [s for s in self._steps() if s != step]
            raise ArtifactError(
                f"{damages[0]} To go on from an older checkpoint pass --resume-step with one of {others}, "
                f"or remove {self.folder} to start over."
            )
        return manifest

    def path(self, step: int) -> Path:
        """Return the folder of a step's checkpoint."""
        return self.folder / f"step-{step:07d}"

    def _steps(self) -> list[int]:
        return sorted(int(p.name[5:]) for p in self.folder.glob("step-*") if p.name[5:].isdigit())

    def _track(self, step: int) -> None:
        replace_text(self.folder / _TRACKER, json.dumps({"step": step}))

    def _prune(self, latest: int) -> None:
        """Remove the oldest, and those that a run which went back has left behind it."""
        mine = [step for step in self._steps() if step <= latest]
        kept = mine[-self._keep :]
        if self._saving.keep_every:
            kept += [step for step in mine if step % self._saving.keep_every == 0]
        for step in set(self._steps()) - set(kept):
            self._remove(step)

    def _remove(self, step: int) -> None:
        """Remove a checkpoint in such a way that a kill leaves it whole or leaves what the next run removes."""
        if self.path(step).is_dir():
            gone = self.path(step).with_name(f"{self.path(step).name}.gone.partial")
            self.path(step).rename(gone)
            shutil.rmtree(gone)

    def _partial(self, step: int) -> Path:
        return self.path(step).with_name(f"{self.path(step).name}.partial")


def load(checkpoint: Path, tensors: dict[str, Any]) -> dict[str, Any]:
    """Fill a sharded state dict from a checkpoint, whatever the layout that wrote it."""
    with megatron_import():
        from megatron.core import dist_checkpointing
    with _without_notices():
        # Each process asks for no more than it needs, so that no one asks for some of the whole.
        return dist_checkpointing.load(tensors, str(checkpoint), validate_access_integrity=False)  # pyright: ignore[reportReturnType]


@contextmanager
def _without_notices() -> Generator[None]:
    """Mute what torch's loader says of itself: that one process loads alone, and in which order arguments come."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
        warnings.filterwarnings("ignore", message="The argument order of load has been changed")
        yield
