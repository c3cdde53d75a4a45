"""What the sampler's two faces share: the choice of loops, rows on threads, and arrays as the loops want them."""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bilayer.runtime.arrays import Floats
from bilayer.runtime.errors import InputError, ToolMissingError
from bilayer.runtime.sampler import numpy_kernels
from bilayer.runtime.vocabulary import checked_word

Layout = Literal["planar", "interleaved"]  # (C, h, w), torch's and ONNX's; (h, w, C), SNPE's
Engine = Literal["auto", "numba", "numpy"]


class Rows:
    """Runs a kernel over all rows of its output, which several threads may share.

    Threads of Python, not OpenMP: the kernels release the GIL, and waiting threads sleep instead of spinning.

    Raises:
        InputError: no thread at all.
    """

    def __init__(self, kernel: Callable[..., None], threads: int) -> None:
        if threads < 1:
            raise InputError(f"threads: expected 1 or more, found {threads}")
        self._kernel, self._threads = kernel, threads
        self._pool = ThreadPoolExecutor(threads - 1, "sampler") if threads > 1 else None

    def __call__(self, arguments: tuple[Any, ...], height: int, width: int) -> None:
        """Call `kernel(*arguments, height, width, begin, end)`, together for all rows."""
        if self._pool is None:
            self._kernel(*arguments, height, width, 0, height)
            return
        ends = [height * part // self._threads for part in range(self._threads + 1)]
        others = [
            self._pool.submit(self._kernel, *arguments, height, width, begin, end) for begin, end in pairwise(ends[1:])
        ]
        self._kernel(*arguments, height, width, 0, ends[1])
        for other in others:
            other.result()


class Kernels(Protocol):
    """What `numba_kernels` and `numpy_kernels` both are."""

    def sample_kernel(self, grid_interleaved: bool, out_interleaved: bool) -> Callable[..., None]:
        """Return `sample_rows` for one pair of layouts."""

    def frame_kernel(self, alpha: int, interleaved: bool) -> Callable[..., None]:
        """Return `frame_rows` for one use of the mask and one layout."""

    def resized_frame_kernel(self, alpha: int) -> Callable[..., None]:
        """Return the same for results that are not of a frame's size: height, width and `interleaved` follow `out`."""


def load_kernels(engine: Engine) -> tuple[str, Kernels]:
    """Return the loops of an engine, and its name: "numba" or "numpy"."""
    if checked_word(engine, Engine, "engine") == "numpy":
        return "numpy", numpy_kernels
    try:
        return "numba", _numba_kernels()
    except ImportError as error:
        if engine == "numba":
            raise ToolMissingError(f"engine numba: {error}; pip install numba, or take engine numpy") from error
        _warn_of_numpy(str(error))
        return "numpy", numpy_kernels


def _numba_kernels() -> Kernels:
    from bilayer.runtime.sampler import numba_kernels

    return numba_kernels


@cache
def _warn_of_numpy(reason: str) -> None:
    warnings.warn(f"sampling with numpy, some 15 times slower ({reason}); pip install numba", stacklevel=5)


def array_shape(channels: int, height: int, width: int, layout: Layout) -> tuple[int, int, int]:
    """Return (C, h, w) or (h, w, C)."""
    return (height, width, channels) if layout == "interleaved" else (channels, height, width)


def named_shape(channels: int, layout: Layout) -> str:
    """Return the same in words, for a message."""
    return f"(h, w, {channels})" if layout == "interleaved" else f"({channels}, h, w)"


def input_array(array: ArrayLike) -> Floats:
    """Return the array itself if the loops can read it, else a copy."""
    return np.ascontiguousarray(array, dtype=np.float32)


def output_array(out: NDArray[Any] | None, shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    """Return `out`, or an InputError where the loops cannot write it; a new array for None."""
    if out is None:
        return np.empty(shape, dtype)
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous or not out.flags.writeable:
        raise InputError(
            f"out: expected a writable C-contiguous {np.dtype(dtype)} {shape}, found {out.dtype} {out.shape}"
            f"{'' if out.flags.c_contiguous else ', not contiguous'}{'' if out.flags.writeable else ', read-only'}"
        )
    return out
