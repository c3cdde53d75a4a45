"""Arrays of numbers out of the bytes of .npy and .npz files, in which nothing pickled is read.

Nothing is allocated for what a header merely claims. Kept by hand: numpy's own reader allocates what the header says
before it looks how much there is, and raises a dozen kinds of errors of damaged ones.
"""

import io
import lzma
import math
import threading
import warnings
import zipfile
import zlib
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.errors import in_short

_QUIET = threading.Lock()
_UNPACKING = (zlib.error, lzma.LZMAError)


def parse_npy(content: bytes) -> NDArray[Any]:
    """Return a copy of the numbers or text in a .npy file's bytes, or a ValueError that says why it is no whole one."""
    stream = io.BytesIO(content)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(stream)
        if version not in readers:
            raise ValueError(f"expected version 1 or 2 of the format, found {version}")
        with _QUIET, warnings.catch_warnings():  # it holds for all threads, and of two one would undo the other's
            warnings.simplefilter("ignore")  # that Python 2 wrote the header
            shape, fortran, dtype = readers[version](stream)
    except Exception as error:  # the header is a Python literal: its parser raises anything
        raise ValueError(f"no .npy header ({in_short(error)})") from error
    if dtype.kind not in "fiubU" or dtype.itemsize == 0:
        raise ValueError(f"expected numbers, found {dtype}")
    if any(length < 0 for length in shape) or math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError(f"has not the {shape} numbers that its header says")
    flat = np.frombuffer(content, dtype, offset=stream.tell()).copy()
    return flat.reshape(shape, order="F" if fortran else "C")


def npy_bytes(array: NDArray[Any]) -> bytes:
    """Return an array of numbers as the bytes of a .npy file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def parse_npz(
    content: bytes, most: int, needed: Collection[str] = (), optional: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """Return the arrays of a .npz file's bytes by name; only those that are named, if any are.

    Raises:
        ValueError: no whole archive of arrays of numbers or text, one that is needed is missing, or they unpack to
            more than `most` bytes; says why.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
            named = {entry.filename.removesuffix(".npy"): entry for entry in members}
            if missing := [name for name in needed if name not in named]:
                raise ValueError(f'expected the array "{missing[0]}", found {sorted(named)[:8]}')
            kept = {name: entry for name, entry in named.items() if not needed or name in {*needed, *optional}}
            if sum(entry.file_size for entry in kept.values()) > most:
                raise ValueError(f"unpacks to more than {most} bytes")
            arrays = {}
            for name, entry in kept.items():
                with archive.open(entry) as member:
                    arrays[name] = parse_npy(member.read(most + 1))
            return arrays
    except ValueError:
        raise
    except (OSError, EOFError, RuntimeError, LookupError, MemoryError, zipfile.BadZipFile, *_UNPACKING) as error:
        # RuntimeError: encrypted, or packed in a way that is not there (NotImplementedError); MemoryError: a header of
        # LZMA may ask for gigabytes
        raise ValueError(f"no .npz archive of arrays ({in_short(error)})") from error
