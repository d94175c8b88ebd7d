"""Tasks in processes of this machine; a worker that dies ends the run with a sentence, not with a hang."""

import multiprocessing
import os
import signal
import sys
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
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
        num_workers = min(self.workers, len(ranks))
        # spawn: a fork of this process would take along locks that its other threads hold, and a fork server would be
        # the workers' parent in the place of this process: they would not be told when it is killed.
        context = multiprocessing.get_context("spawn")
        # Each worker is given this executor once: it holds the slices of every task, megabytes of them at 10 TB.
        pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_begin_worker, initargs=(self,))
        workers: list[BaseProcess] = []
        try:
            waiting, running = deque(ranks), set[Future[None]]()
            while waiting or running:
                while waiting and len(running) < 2 * num_workers:  # one each in reserve, so that none waits for us
                    running.add(pool.submit(_run_task, waiting.popleft()))
                workers = _processes(pool)
                done, running = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                refuse_if_stopped()
        except BrokenProcessPool as error:
            pool.shutdown(wait=True)  # which reads the exit codes
            refuse_if_stopped()  # a signal to the whole group ended the workers before us
            raise _worker_died(workers) from error
        except BaseException:
            for worker in _processes(pool):
                worker.kill()  # what their tasks began is begun again by the next run
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


_of_this_worker: list[LocalExecutor] = []


def _begin_worker(executor: LocalExecutor) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the whole group; the main process decides
    end_with_creator()
    if (parent := multiprocessing.parent_process()) is not None and parent.pid != os.getppid():
        sys.exit("the main process ended before its worker began")
    _of_this_worker.append(executor)


def _run_task(rank: int) -> None:
    _of_this_worker[0].run_task(rank)


def _processes(pool: ProcessPoolExecutor) -> list[BaseProcess]:
    workers: dict[int, BaseProcess] = getattr(pool, "_processes", None) or {}
    return list(workers.values())


def _worker_died(workers: list[BaseProcess]) -> Exception:
    """Return what to raise for a broken pool, which ends the workers that are left with SIGTERM."""
    codes = [worker.exitcode for worker in workers]
    killed = sorted(-code for code in codes if code is not None and code < 0)
    if not killed:
        return RuntimeError(f"a worker process ended by itself, with exit codes {codes}; what it said stands above.")
    number = next((number for number in killed if number != signal.SIGTERM), signal.SIGTERM)
    return Interrupted(
        f"a worker process was killed by {signal.Signals(number).name} (by hand, or by the system for want of "
        "memory); finished tasks are kept: run the same command again, with fewer --workers if memory ran out."
    )
