"""How the renderer's kernels are compiled."""

from pathlib import Path

from bilayer.runtime.numba_cache import cached_njit, inlined_njit

_FAST_MATH = {"nsz", "arcp", "contract", "reassoc", "afn"}  # without "nnan": NaN is written
_WEIGHTS = str(Path(__file__).with_name("weights.py"))  # inlined into kernels of other files

compiled = cached_njit(made_of=(_WEIGHTS,), error_model="numpy", fastmath=_FAST_MATH)
inlined_fast = inlined_njit(error_model="numpy", fastmath=_FAST_MATH)
