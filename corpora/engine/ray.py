"""Tasks on a Ray cluster, or on one that is started on this machine for the length of a stage."""

import logging
import os
import platform
import signal
import socket
import threading
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, override

from datatrove.executor.base import PipelineExecutor
from datatrove.executor.ray import RayPipelineExecutor
from datatrove.utils.stats import Stats
from loguru import logger

from corpora.engine.marks import DurableMarks, wait_for_marks
from corpora.engine.stopping import refuse_if_stopped
from hanlm.errors import ConfigError, InputError, Interrupted

_POLL_SECONDS = 0.5
_KNOCK_SECONDS = 20.0
_STARTS = 3
"""Tries to start Ray here: it gives up after 30 s, which a machine that does other work may well need."""
_RETRIES = 3
"""How often Ray begins a task anew whose worker was killed."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class RayExecutor(DurableMarks, RayPipelineExecutor):
    """datatrove's Ray executor with tasks of Ray's in the place of its actors.

    datatrove's actor forks once more for each task: where the actor is killed the fork lives on and writes the files
    of the task that Ray begins anew, and where the fork is killed the actor waits for ever. It also goes on to the end
    after a task has failed, and says no more than that not all tasks were completed.

    Args:
        pipeline: The steps.
        tasks: Number of tasks.
        workers: Tasks at a time, each on one processor of the cluster's.
        logging_dir: Of the stage, in a folder that every node sees.
    """

    def __init__(self, pipeline: Sequence[Any], *, tasks: int, workers: int, logging_dir: Path) -> None:
        logger.disable("datatrove")  # which warns of every folder that a node might not see
        super().__init__(list(pipeline), tasks=tasks, workers=workers, logging_dir=str(logging_dir.absolute()))
        self.cwd = Path.cwd()

    @override
    def run(self) -> None:
        """Run all tasks that are not marked as completed.

        Raises:
            ConfigError: If no cluster can be reached or started.
            Interrupted: If a signal asked to stop, or Ray gave a task up; completed tasks stay completed.
        """
        ranks = self.get_incomplete_ranks(range(self.tasks))
        if ranks:
            Path(self.logging_dir.path).mkdir(parents=True, exist_ok=True)  # by which a worker sees where it is
            with _cluster(self.workers) as ray:
                self._run_on(ray, ranks)
            wait_for_marks(self, ranks)

    def _run_on(self, ray: Any, ranks: list[int]) -> None:
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_run_task)
        executor = ray.put(self)  # once for all tasks: it holds the slices of every one
        waiting, running = deque(ranks), dict[Any, int]()
        while waiting or running:
            while waiting and len(running) < self.workers:
                rank = waiting.popleft()
                running[task.remote(executor, rank)] = rank
            done, _ = ray.wait(list(running), timeout=_POLL_SECONDS)
            for each in done:
                _settle(ray, each, running.pop(each))
            refuse_if_stopped()

    def run_task(self, rank: int) -> None:
        """Run one task in a process of Ray's."""
        logger.disable("datatrove")
        steps: list[Any] = self.pipeline
        for step in steps:
            step.stats = Stats(str(step))
        # Not Ray's variant, which logs into one folder of the node that all runs and users share.
        PipelineExecutor._run_for_rank(self, rank)


def _run_task(executor: RayExecutor, rank: int) -> None:
    folder = Path(executor.logging_dir.path)
    if not (executor.cwd.is_dir() and folder.is_dir()):
        raise InputError(
            f"expected a file system that all nodes share, but {platform.node()} sees no {executor.cwd} or no "
            f"{folder}; run from, and choose --out in, a folder that every node has."
        )
    os.chdir(executor.cwd)  # for the paths of the input; a worker of Ray's starts in a folder of Ray's
    executor.run_task(rank)


def _settle(ray: Any, task: Any, rank: int) -> None:
    try:
        ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise Interrupted(
            f"Ray gave task {rank} up ({type(error).__name__}: its worker or node was killed {_RETRIES + 1} times or "
            "is gone); finished tasks are kept: run the same command again, with fewer --workers if memory ran out."
        ) from error


@contextmanager
def _cluster(workers: int) -> Generator[Any]:
    """Connect to the cluster at ``RAY_ADDRESS``, or start one of ``workers`` processors; leave what was there."""
    import ray

    if ray.is_initialized():
        yield ray
        return
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        _connect(ray, os.environ.get("RAY_ADDRESS"), workers)
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)  # Ray puts its own in the place of those that stop a run
    try:
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str | None, workers: int) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers that it was started
    here: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
    for tries_left in reversed(range(1 if address else _STARTS)):
        try:
            _knock(address or "")
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **here)
            return
        except Exception as error:
            ray.shutdown()
            if not tries_left:
                what = f"reach the Ray cluster at RAY_ADDRESS={address}" if address else "start Ray on this machine"
                raise ConfigError(
                    f"could not {what}: {error}. Look at `ray status`, or use --executor local."
                ) from error


def _knock(address: str) -> None:
    """Raise ``OSError`` where nothing listens at ``HOST:PORT``, for which Ray itself waits for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "://" not in address:
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()
