"""How the renderer's kernels are compiled."""

from collections.abc import Callable
from typing import Any

from numba import njit

from bilayer.runtime.numba_cache import cached_njit

_FAST_MATH = {"nsz", "arcp", "contract", "reassoc", "afn"}  # without "nnan": NaN is written

compiled = cached_njit(error_model="numpy", fastmath=_FAST_MATH)


def inlined(function: Callable[..., Any]) -> Any:
    """Return a function that becomes part of each kernel that calls it, which must be in the same file."""
    return njit(error_model="numpy", fastmath=_FAST_MATH, forceinline=True)(function)
