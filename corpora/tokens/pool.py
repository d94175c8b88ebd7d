"""Tasks in processes: the parts that are missing are made, a worker that dies is noticed, a signal stops in between."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import connection, forkserver

from corpora.tokens import slices
from corpora.tokens.part import Job, Part, tokenize_shard
from hanlm.errors import HanLMError, Interrupted
from hanlm.signals import StopRequest

_LOOK_SECONDS = 0.5
# What every worker needs is imported once, and its memory shared: importing it takes 5 seconds.
_PRELOADED = ["corpora.tokens.preload"]


def worthwhile_workers(num_bytes: int, asked: int | None) -> int:
    """Return how many processes to encode a text with: starting them takes as long as encoding 50 MB."""
    return min(asked or len(os.sched_getaffinity(0)), max(1, num_bytes // slices.SLICE_BYTES))


def start_server() -> None:
    """Let the process that forks workers begin its imports, while this one has imports of its own to make."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOADED)
    before = None
    with suppress(ValueError):  # raised off the main thread, where a signal never arrives
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: ctrl-C is the main process's to answer
    try:
        forkserver.ensure_running()
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def make_parts(job: Job, tasks: Sequence[int], *, workers: int, stop: StopRequest) -> Iterator[Part]:
    """Make the parts of the tasks, in whatever order, and yield each when it is finished.

    Args:
        job: What the tasks share.
        tasks: Their numbers.
        workers: Processes to use; with one, this process does the work.
        stop: Asked between tasks.

    Raises:
        HanLMError: If a worker died, or what a task raised.
        Interrupted: If a signal asked to stop; finished parts stay.
    """
    if workers == 1:
        yield from _make_here(job, tasks, stop)
        return
    start_server()
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context, initializer=_begin_worker) as pool:
        waiting = {pool.submit(tokenize_shard, task, job) for task in tasks}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
                yield from (_result(future, stop) for future in done)
                if stop.requested and waiting:
                    raise _interrupted()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # what has begun is finished: a few seconds each


def _make_here(job: Job, tasks: Sequence[int], stop: StopRequest) -> Iterator[Part]:
    for task in tasks:
        if stop.requested:
            raise _interrupted()
        yield tokenize_shard(task, job)


def _interrupted() -> Interrupted:
    return Interrupted(
        "stopped; nothing was published, and the parts that are finished are kept: run the same command again to go on."
    )


def _result(future: Future[Part], stop: StopRequest) -> Part:
    try:
        return future.result()
    except BrokenProcessPool:
        if stop.requested:  # whoever asked us to stop has asked the workers too
            raise _interrupted() from None
        raise HanLMError(
            "a process that tokenized has died: the system kills the largest when memory runs out. Finished parts are "
            "kept: run the same command again, with fewer --workers if it was memory."
        ) from None


def _begin_worker() -> None:
    """Leave ctrl-C to the main process, and end with it: a pool's workers would wait for a dead one for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which a pool whose worker died ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
