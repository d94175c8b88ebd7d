"""Tasks in processes of this machine; a worker that dies ends the run with a sentence, not with a hang."""

import multiprocessing
import signal
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, override

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.utils.stats import Stats
from loguru import logger

from corpora.engine.marks import DurableMarks
from corpora.engine.stopping import refuse_if_stopped
from hanlm.errors import Interrupted
from hanlm.parent import end_with_creator

_POLL_SECONDS = 0.2


class LocalExecutor(DurableMarks, LocalPipelineExecutor):
    """datatrove's local executor on a pool that notices when a worker is killed.

    datatrove's own waits for ever for the task of a worker that is gone, as ``multiprocessing.Pool`` does. A single
    task runs in this process.
    """

    @override
    def run(self) -> None:
        """Run all tasks that are not marked as completed.

        Raises:
            Interrupted: If a signal asked to stop, or a worker was killed; completed tasks stay completed.
        """
        ranks = self.get_incomplete_ranks(range(self.tasks))
        if self.workers == 1 or len(ranks) <= 1:
            for rank in ranks:
                refuse_if_stopped()
                self.run_task(rank)
        else:
            self._run_in_pool(ranks)

    def _run_in_pool(self, ranks: list[int]) -> None:
        # forkserver: a fork of this process would take along locks that its other threads hold.
        context = multiprocessing.get_context("forkserver")
        pool = ProcessPoolExecutor(min(self.workers, len(ranks)), mp_context=context, initializer=_begin_worker)
        try:
            futures: set[Future[None]] = {pool.submit(self.run_task, rank) for rank in ranks}
            while futures:
                done, futures = wait(futures, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                refuse_if_stopped()
        except BrokenProcessPool as error:
            raise Interrupted(
                "a worker process was killed (by hand, or by the system for want of memory); finished tasks are kept: "
                "run the same command again, with fewer --workers if memory ran out."
            ) from error
        except BaseException:
            _kill_workers(pool)
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def run_task(self, rank: int) -> None:
        """Run one task, with fresh statistics; datatrove says nothing on the terminal."""
        logger.disable("datatrove")
        steps: list[Any] = self.pipeline
        for step in steps:
            step.stats = Stats(str(step))  # of this task alone, where one process runs several
        self._run_for_rank(rank)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the whole group; the main process decides
    end_with_creator()


def _kill_workers(pool: ProcessPoolExecutor) -> None:
    """End the workers at once: what their tasks began is begun again by the next run."""
    workers: dict[int, Any] = getattr(pool, "_processes", None) or {}
    for process in list(workers.values()):
        process.kill()
