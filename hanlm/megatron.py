"""Importing megatron-core: quietly, and without its compiler where there is no CUDA device."""

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def megatron_import() -> Generator[None]:
    """Import ``megatron.core`` inside this block.

    megatron-core decorates its fused operations with ``torch.compile`` while it is imported. Without CUDA
    they are not used, and loading the compiler for them costs 6.5 of 11.5 seconds (2 cores, megatron-core
    0.19.2), so the decorator does nothing there. Its hints about TransformerEngine and Apex, which are
    optional, are muted.
    """
    import torch

    compiler, notices = torch.compile, logging.getLogger("torch.utils.cpp_extension")
    level = notices.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        notices.setLevel(logging.ERROR)
        if not torch.cuda.is_available():
            torch.compile = _leave_uncompiled
        try:
            yield
        finally:
            torch.compile = compiler
            notices.setLevel(level)


def _leave_uncompiled(function: Any = None, **_options: Any) -> Any:
    return function if function is not None else _leave_uncompiled
