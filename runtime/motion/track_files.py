"""Landmark tracks in and out of .npy, .npz and .json files.

| file  | holds                                                                                                  |
|-------|--------------------------------------------------------------------------------------------------------|
| .npy  | a (T, 68, 2) array of numbers; a (68, 2) array is a track of one frame. Has no room for a frame rate   |
| .npz  | the same as "landmarks", and optionally the frame rate as "fps"                                        |
| .json | `{"fps": 25, "landmarks": [[[x, y], ...], ...]}`, or the list alone                                    |

Points are pixels of the driver's picture, x right and y down, the centre of the top left pixel at (0, 0). Pickled
objects are never read, and nothing is allocated for what a header merely claims.
"""

import io
import json
import math
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.errors import LandmarkError
from bilayer.runtime.files import replacing
from bilayer.runtime.motion.track import DEFAULT_FPS, MAX_FRAMES, Track

MAX_BYTES = MAX_FRAMES * 68 * 2 * 8 + 4096  # the longest track in float64
MAX_JSON_BYTES = 64 << 20  # about 20,000 frames; parsing takes ten times that
MAX_JSON_FRAMES = 20_000

Content = tuple[Any, float | None]  # what may be landmarks, and the frame rate where the file has one


def read_track(path: str | Path, fps: float | None = None) -> Track:
    """Read a landmark track.

    Args:
        path: a .npy, .npz or .json file.
        fps: frames per second, whatever the file says; None takes the file's, and 25 where it has none.

    Raises:
        LandmarkError: no such file, another extension, not the format, another shape, too long, NaN or infinite values.
    """
    path = Path(path)
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise LandmarkError(
            f"{path}: track: expected a {', '.join(_PARSERS)} file, found {path.suffix or 'no extension'}"
        )
    try:
        landmarks, own_fps = parse(_bytes(path))
        return Track(landmarks, next(rate for rate in (fps, own_fps, DEFAULT_FPS) if rate is not None))
    except LandmarkError as error:
        raise LandmarkError(f"{path}: {error}") from error
    except OSError as error:
        raise LandmarkError(f"{path}: reading failed: {error.strerror or error}") from error
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, msgspec.ValidationError) as error:
        # RuntimeError: an encrypted archive; NotImplementedError and RecursionError are such too
        expected = f"(frames, 68, 2) numbers as {path.suffix}"
        raise LandmarkError(f"{path}: track: expected {expected}, found {_line(error)}") from error


def write_track(path: str | Path, track: Track) -> None:
    """Write a landmark track; the same track gives the same bytes.

    A .npy file does not keep the frame rate. JSON keeps every float32 exactly.

    Raises:
        LandmarkError: another extension, or too many frames for JSON.
        OutputError: the place cannot be written to.
    """
    path = Path(path)
    build = _BUILDERS.get(path.suffix.lower())
    if build is None:
        raise LandmarkError(
            f"{path}: track: expected a name in {', '.join(_BUILDERS)}, found {path.suffix or 'no extension'}"
        )
    content = build(track, path)
    with replacing(path) as part:
        part.write_bytes(content)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise LandmarkError(f"track: {'is a folder' if path.is_dir() else 'no such file'}; name a landmark track")
    limit = MAX_JSON_BYTES if path.suffix.lower() == ".json" else MAX_BYTES
    with path.open("rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise LandmarkError(f"track: more than {limit} bytes; cut it into parts, or write long tracks as .npy")
    return content


def _array(content: bytes) -> NDArray[Any]:
    """A .npy file's array, as long as its bytes are all there."""
    stream = io.BytesIO(content)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(stream)
        if version not in readers:
            raise LandmarkError(f"track: expected version 1 or 2 of the .npy format, found {version}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that Python 2 wrote the header
            shape, fortran, dtype = readers[version](stream)
    except (ValueError, SyntaxError, TypeError, tokenize.TokenError) as error:
        raise LandmarkError(f"track: expected a .npy header, found {_line(error)}") from error
    if dtype.kind not in "fiu":
        raise LandmarkError(f"landmarks: expected numbers, found {dtype}")
    if any(length < 0 for length in shape) or math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise LandmarkError(f"landmarks: the file has not the {shape} numbers that its header says")
    flat = np.frombuffer(content, dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C")


def _from_npy(content: bytes) -> Content:
    array = _array(content)
    return (array[None] if array.ndim == 2 else array), None


def _from_npz(content: bytes) -> Content:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        if "landmarks.npy" not in sizes:
            found = [name.removesuffix(".npy") for name in sorted(sizes)][:8]
            raise LandmarkError(f'track: expected the array "landmarks", found {found}')
        wanted = [name for name in ("landmarks.npy", "fps.npy") if name in sizes]
        if max(sizes[name] for name in wanted) > MAX_BYTES:
            raise LandmarkError(f"track: unpacks to more than {MAX_BYTES} bytes; cut it into parts")
        arrays = [_array(archive.read(name)) for name in wanted]
    if len(arrays) == 2 and arrays[1].size != 1:
        raise LandmarkError(f"fps: expected one number, found an array {arrays[1].shape}")
    landmarks = arrays[0][None] if arrays[0].ndim == 2 else arrays[0]
    return landmarks, float(arrays[1].item()) if len(arrays) == 2 else None


def _from_json(content: bytes) -> Content:
    parsed = json.loads(content.decode("utf-8-sig"))
    fps = None
    if isinstance(parsed, dict):
        if "landmarks" not in parsed:
            raise LandmarkError(f'track: expected the field "landmarks", found {sorted(map(str, parsed))[:8]}')
        fps, parsed = parsed.get("fps"), parsed["landmarks"]
        if fps is not None and (isinstance(fps, bool) or not isinstance(fps, int | float)):
            raise LandmarkError(f"fps: expected a number, found {fps!r:.40}")
    return msgspec.convert(parsed, list[list[tuple[float, float]]]), fps


def _npy_bytes(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def _to_npy(track: Track, path: Path) -> bytes:
    return _npy_bytes(track.landmarks)


def _to_npz(track: Track, path: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in (("landmarks", track.landmarks), ("fps", np.array(track.fps, np.float64))):
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), _npy_bytes(array))  # dated 1980: no clock in the bytes
    return stream.getvalue()


def _to_json(track: Track, path: Path) -> bytes:
    if len(track) > MAX_JSON_FRAMES:
        raise LandmarkError(f"{path}: track: {len(track)} frames, JSON takes {MAX_JSON_FRAMES}; write .npz instead")
    content = {"fps": float(track.fps), "landmarks": track.landmarks.tolist()}
    return (json.dumps(content, separators=(",", ":")) + "\n").encode()


_PARSERS: dict[str, Callable[[bytes], Content]] = {".npy": _from_npy, ".npz": _from_npz, ".json": _from_json}
_BUILDERS: dict[str, Callable[[Track, Path], bytes]] = {".npy": _to_npy, ".npz": _to_npz, ".json": _to_json}
