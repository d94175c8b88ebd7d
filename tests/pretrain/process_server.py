"""Runs of several real processes that talk over gloo. Each is a fork of this one, which has imported everything.

Reads pickled (configuration, number of processes, hooks) from standard input. A hook is (rank, function, call,
signal): right before that call of that function the process sends itself the signal. Answers with every process's
exit code and, where HanLM refused or stopped, its sentence.
"""

import os
import pickle
import resource
import signal
import socket
import sys
import time
import traceback
from functools import wraps
from pkgutil import resolve_name
from typing import Any

import kill_server  # noqa: F401  (imports torch and megatron-core; its loop is not run)
import torch

from hanlm.errors import HanLMError
from pretrain.train import pretrain

_SECONDS = 120


def hook(target: str, call: int, number: int) -> None:
    """Send this process a signal at a call of a function; RLIMIT_FSIZE stands for a disk that is full from then on."""
    owner, _, name = target.rpartition(".")
    place = resolve_name(owner)
    original, calls = getattr(place, name), []

    @wraps(original)
    def hooked(*args: Any, **options: Any) -> Any:
        calls.append(number)
        if len(calls) == call:
            if number == signal.SIGXFSZ:
                resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
            else:
                os.kill(os.getpid(), number)
        return original(*args, **options)

    setattr(place, name, hooked)


def run(config: Any, rank: int, hooks: list[tuple[int, str, int, int]], say: int) -> int:
    for where, *rest in hooks:
        if where == rank:
            hook(*rest)
    try:
        pretrain(config)
    except HanLMError as error:
        os.write(say, str(error).encode())
        return error.exit_code
    except BaseException:
        os.write(say, traceback.format_exc().encode()[-4000:])
        return 1
    return 0


def answer(config: Any, processes: int, hooks: list[tuple[int, str, int, int]]) -> list[tuple[int, str]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    children = []
    for rank in range(processes):
        hear, say = os.pipe()
        child = os.fork()
        if child == 0:
            names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
            if processes > 1:
                os.environ.update({k: str(v) for k, v in names.items()}, MASTER_ADDR="127.0.0.1")
            os._exit(run(config, rank, hooks, say))
        os.close(say)
        children.append((child, hear))
    return [(wait(child), read(hear)) for child, hear in children]


def wait(child: int) -> int:
    deadline = time.monotonic() + _SECONDS
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(done[1])


def read(pipe: int) -> str:
    with os.fdopen(pipe, "rb") as file:
        return file.read().decode()


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            request = pickle.load(sys.stdin.buffer)
        except EOFError:
            break
        pickle.dump(answer(*request), out)
        out.flush()
