"""A checkpoint on its way to the disk: every process writes its part, the main one publishes the whole.

Writing and publishing run in a thread where training goes on meanwhile. What needs all processes (was everything
written, the table of contents) happens between two steps, in ``advance``.
"""

import queue
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hanlm.files import sha256_of
from pretrain.parallel import Place

type Hashes = Mapping[str, Mapping[str, Any]]
"""Size and hash of files by their names, as a manifest lists them."""


@dataclass(frozen=True, slots=True)
class Writing:
    """What a process has to do for a checkpoint; how, its backend knows."""

    write: Callable[[], Hashes]
    """Writes this process's files; may run while training goes on. Raises OSError where that fails."""
    finalize: Callable[[], None]
    """Called on every process, once all have written."""


class PendingSave:
    """One save; every process makes one and calls ``advance`` together with the others.

    Args:
        writing: This process's part.
        place: This process's place.
        publish: Makes the folder a checkpoint, given what the writers' files hold; called on the main process.
        in_background: Whether to write while the caller goes on.
    """

    def __init__(
        self, writing: Writing, place: Place, publish: Callable[[Hashes], None], *, in_background: bool
    ) -> None:
        self._place, self._publish, self._in_background = place, publish, in_background
        self._finalize: Callable[[], None] | None = writing.finalize
        self._is_published = False
        self._work = self._start(writing.write)

    def advance(self, *, until_done: bool) -> bool:
        """Go on with what the threads have finished; call it on every process.

        Args:
            until_done: Whether to wait for the end.

        Returns:
            Whether the checkpoint is published.

        Raises:
            OSError: On every process, if one of them could not write.
            RuntimeError: On every process but the one that met another error.
        """
        while not self._is_published:
            if until_done:
                wait([self._work])
            if any(self._place.agree(float(not self._work.done()))):
                return False
            hashes = self._outcomes()
            if self._finalize is None:
                self._is_published = True
            else:
                self._finalize()
                self._finalize = None
                self._work = self._start(partial(self._publish, hashes) if self._place.is_main else dict)
        return True

    def _start(self, work: Callable[[], Any]) -> "Future[Any]":
        if self._in_background:
            pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
            future = pool.submit(work)
            pool.shutdown(wait=False)
            return future
        future = Future[Any]()
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)
        return future

    def _outcomes(self) -> Hashes:
        """Return what the writers of all processes say of their files, or raise what one of them met."""
        error = self._work.exception()
        text = None if error is None else f"{type(error).__name__}: {error}"
        everyone = self._place.share((text, isinstance(error, OSError), self._work.result() if error is None else {}))
        failed = [(f"process {rank}: {text}", is_os) for rank, (text, is_os, _) in enumerate(everyone) if text]
        if error is not None and not isinstance(error, OSError):
            raise error
        if failed:
            kind = OSError if all(is_os for _, is_os in failed) else RuntimeError
            raise kind("; ".join(words for words, _ in failed)) from error
        return {name: entry for *_, hashes in everyone for name, entry in (hashes or {}).items()}


def sharded_writing(tensors: dict[str, Any], folder: Path, place: Place, *, in_background: bool) -> Writing:
    """Return how Megatron's sharded state dict is written; call it on every process.

    Args:
        tensors: The state dict; it is copied where it is written in the background.
        folder: An empty folder that all processes see.
        place: This process's place.
        in_background: Whether training goes on meanwhile.
    """
    from megatron.core import dist_checkpointing

    results = _plain_results()
    request: Any = dist_checkpointing.save(tensors, str(folder), async_sharded_save=True, async_strategy="mcore")
    buckets = [] if request.preload_fn is None else request.preload_fn()
    if in_background and place.device.type == "cpu":
        buckets = [_copied(bucket) for bucket in buckets]
    transforms = request.async_fn.args[0] if buckets else []

    def finalize() -> None:
        for each in request.finalize_fns:
            each()

    return Writing(lambda: _write(buckets, transforms, results), finalize)


def _plain_results() -> "queue.Queue[Any]":
    """Keep megatron-core from starting a process to hold a queue, and return the queue that it takes instead.

    It hands the results of writing over through a ``multiprocessing`` manager, even where nothing is written in
    another process; the manager's process imports the main module again, which took 9 to 13 seconds.
    """
    from megatron.core.dist_checkpointing.strategies import filesystem_async

    module: Any = filesystem_async
    module._results_queue = queue.Queue()
    return module._results_queue


def _copied(bucket: Any) -> Any:
    """Return a file to write with copies of its tensors, which the next step would change."""
    path, name, (texts, tensors) = bucket
    return path, name, (texts, [(item, tensor.clone()) for item, tensor in tensors])


def _write(buckets: list[Any], transforms: list[Any], results: "queue.Queue[Any]") -> Hashes:
    """Write this process's files, flushed to the disk, and return what they hold.

    Raises:
        OSError: If that fails.
    """
    from megatron.core.dist_checkpointing.strategies.filesystem_async import FileSystemWriterAsync

    outcomes: dict[int, Any] = {}
    for i, bucket in enumerate(buckets):
        name = bucket[1]
        written: Any = FileSystemWriterAsync.write_preloaded_data(transforms, i, bucket, None, None, use_fsync=True)
        if isinstance(written[1], Exception):
            raise OSError(f"{name}: {_cause(written[1])}") from written[1]
        outcomes[i] = written[1]
    results.put(outcomes)
    return {
        name: {"sha256": sha256_of(Path(path)), "num_bytes": Path(path).stat().st_size} for path, name, _ in buckets
    }


def _cause(error: BaseException) -> BaseException:
    """Return the error of the disk behind one of torch's, which complains of what its archive then lacks."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, OSError):
        found = found.__cause__ or found.__context__
    return found or error
