"""Compile a function with numba, keeping the machine code on disk wherever a folder can be written."""

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba


def entry_jit[F: Callable[..., Any]](function: F) -> F:
    """Return a function compiled for calls from Python and from compiled code."""
    return _compiled(function)


def inner_jit[F: Callable[..., Any]](function: F) -> F:
    """Return a function compiled for calls from compiled code alone.

    Leaving out the wrappers for Python (each unpacks every array of its arguments) halves the compilation.
    """
    return _compiled(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def _compiled[F: Callable[..., Any]](function: F, **options: bool) -> F:
    """Compile without numba's runtime.

    So nothing may be allocated, but no reference is counted either: on tuples of many arrays those atomic
    additions took most of the time.

    numba looks for a writable cache beside the source, then in the user's cache folder, and refuses to
    decorate where neither can be written (a read-only container): there it is compiled anew in each process.
    """
    njit: Any = numba.njit
    try:
        compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False, **options)(function)
    except RuntimeError:
        return njit(nogil=True, error_model="numpy", _nrt=False, **options)(function)
    # numba takes kept code for valid while the function's own file is unchanged, whatever becomes of what it calls.
    compiled._cache._cache_file._source_stamp = _sources(Path(function.__code__.co_filename).parent)
    return compiled


@cache
def _sources(folder: Path) -> str:
    """Return a hash of all sources of a folder that hold compiled functions."""
    sources = [path.read_bytes() for path in sorted(folder.glob("*.py"))]
    return sha256(b"".join(source for source in sources if b"hanlm.jit" in source)).hexdigest()
