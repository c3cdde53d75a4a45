"""Functions compiled by Numba and kept in its cache, which sees all files that a function is made of."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba import njit, types
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher


class _MendingCache(FunctionCache):
    """Numba's cache, which makes anew what it cannot read: a crash or a full disk leaves empty and cut files."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what is kept; None where nothing can be read: then it is compiled and saved."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception:  # unpickling a damaged file raises anything
            with suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]  # an empty index
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Nothing where the disk is full: what was compiled is used all the same."""
        with suppress(OSError):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]


def any_array(element: Any, dimensions: int = 1) -> Any:
    """Return the type that any C-contiguous array, writable or not, converts to: no second compilation."""
    return types.Array(element, dimensions, "C", readonly=True, aligned=False)


def inlined_njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator: a function becomes part of each that calls it; kept callers elsewhere are `made_of` this.

    `options` are njit's.
    """
    return njit(forceinline=True, **options)  # type: ignore[no-any-return]


def cached_njit(
    signature: Any = None, made_of: tuple[str, ...] = (), **options: Any
) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator: Numba's `njit`, without the GIL and with a cache where a folder for one can be written.

    Numba's cache of a function watches that function's own file alone. What the function also depends on becomes part
    of the name that the cache has for it: `options`, and the contents of the files `made_of`.

    Args:
        signature: types to compile for now; None: compile for those that it is called with.
        made_of: paths of the other files that functions inlined into this one are defined in.
        options: of njit.
    """
    ordered = {name: sorted(value) if isinstance(value, set) else value for name, value in sorted(options.items())}
    digest = hashlib.sha256(repr(ordered).encode())
    for path in made_of:
        digest.update(Path(path).read_bytes())

    def decorate(function: Callable[..., Any]) -> Any:
        function.__qualname__ += f"-{digest.hexdigest()[:8]}"
        compiled: Any = njit(nogil=True, **options)(function)
        if isinstance(compiled, Dispatcher):  # and not Python's own function, as with NUMBA_DISABLE_JIT
            with suppress(RuntimeError):  # no folder for a cache can be written: compiled in every process
                compiled._cache = _MendingCache(function)  # type: ignore[attr-defined, no-untyped-call]
            if signature is not None:
                compiled.compile(signature)
                compiled.disable_compile()
        return compiled

    return decorate
