"""Compile a function with numba, keeping the machine code on disk wherever a folder can be written."""

from collections.abc import Callable
from typing import Any

import numba


def compiled[F: Callable[..., Any]](function: F) -> F:
    """Return the function compiled, without numba's runtime: it cannot allocate, and counts no references.

    numba refuses to decorate where no cache folder can be written (a read-only container): there it is compiled
    anew in each process. It takes kept code for valid while the function's own file is unchanged, so a compiled
    function calls only what stands in its own file.
    """
    njit: Any = numba.njit
    try:
        return njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function)
    except RuntimeError:
        return njit(nogil=True, error_model="numpy", _nrt=False)(function)
