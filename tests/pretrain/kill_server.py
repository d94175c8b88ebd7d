"""Runs that end by a real SIGKILL. Each is a fork of this process, which imports torch and megatron-core once.

Imports the modules named on its command line too. Reads pickled (configuration, function, call, moment) from standard
input; the run is killed right before or after that call of that function. Answers with the exit code.
"""

import os
import pickle
import signal
import sys
from functools import wraps
from importlib import import_module
from pkgutil import resolve_name
from typing import Any

import torch

from hanlm.megatron import megatron_import
from pretrain import session  # noqa: F401
from pretrain.megatron import backend  # noqa: F401
from pretrain.train import pretrain

with megatron_import():
    import megatron.core.datasets.gpt_dataset
    import megatron.core.dist_checkpointing.strategies.filesystem_async
    import megatron.core.models.gpt.gpt_model
    import megatron.core.optimizer
    import megatron.core.pipeline_parallel  # noqa: F401


def arm(target: str, call: int, moment: str) -> None:
    """Kill this process at a call of a function."""
    owner, _, name = target.rpartition(".")
    place = resolve_name(owner)
    original, calls = getattr(place, name), []

    @wraps(original)
    def deadly(*args: Any, **options: Any) -> Any:
        calls.append(moment)
        if len(calls) == call and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **options)
        if len(calls) >= call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(place, name, deadly)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        import_module(name)
    torch.set_num_threads(1)
    while True:
        try:
            config, *where = pickle.load(sys.stdin.buffer)
        except EOFError:
            break
        child = os.fork()
        if child == 0:
            arm(*where)
            pretrain(config)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
