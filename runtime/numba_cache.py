"""Functions compiled by Numba and kept in its cache, which sees all files that a function is made of."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit


def cached_njit(
    signature: Any = None, made_of: tuple[str, ...] = (), **options: Any
) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: Numba's `njit`, without the GIL and with a cache where a folder for one can be written.

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
        try:
            return njit(signature, nogil=True, cache=True, **options)(function)
        except RuntimeError:  # no folder for a cache can be written: compiled in every process
            return njit(signature, nogil=True, **options)(function)

    return decorate
