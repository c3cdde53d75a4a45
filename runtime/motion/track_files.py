"""Landmark tracks in and out of .npy, .npz and .json files.

| file  | holds                                                                                                  |
|-------|--------------------------------------------------------------------------------------------------------|
| .npy  | a (T, 68, 2) array of numbers; a (68, 2) array is a track of one frame. Has no room for a frame rate   |
| .npz  | the same as "landmarks", and optionally the frame rate as "fps"                                        |
| .json | `{"fps": 25, "landmarks": [[[x, y], ...], ...]}`, or the list alone                                    |

Points are pixels of the driver's picture, x right and y down, the centre of the top left pixel at (0, 0). Pickled
objects are never read, and nothing is allocated for what a header merely claims.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.errors import LandmarkError, in_short
from bilayer.runtime.files.arrays import npy_bytes, parse_npy, parse_npz
from bilayer.runtime.files.reading import FileKind, read_bytes
from bilayer.runtime.files.writing import write_file
from bilayer.runtime.files.zips import zip_bytes
from bilayer.runtime.motion.track import Track
from bilayer.runtime.vocabulary import DEFAULT_FPS

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
    content = read_bytes(path, FileKind.JSON_TRACK if parse is _from_json else FileKind.TRACK, LandmarkError)
    try:
        landmarks, own_fps = parse(content)
        return Track(landmarks, next(rate for rate in (fps, own_fps, DEFAULT_FPS) if rate is not None))
    except LandmarkError as error:
        raise LandmarkError(f"{path}: {error}") from error
    except (ValueError, OverflowError, RecursionError, msgspec.ValidationError) as error:
        found = f"found none to read ({in_short(error)}); save the points anew"
        raise LandmarkError(f"{path}: track: expected (frames, 68, 2) numbers as {path.suffix}, {found}") from error


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
    write_file(path, content)


def _numbers(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "fiu":
        raise LandmarkError(f"landmarks: expected numbers, found {array.dtype}; save them as float32")
    return array


def _from_npy(content: bytes) -> Content:
    array = _numbers(parse_npy(content))
    return (array[None] if array.ndim == 2 else array), None


def _from_npz(content: bytes) -> Content:
    arrays = parse_npz(content, FileKind.TRACK.most, ("landmarks",), ("fps",))
    landmarks, fps = _numbers(arrays["landmarks"]), arrays.get("fps")
    if fps is not None and _numbers(fps).size != 1:
        raise LandmarkError(f"fps: expected one number, found an array {fps.shape}")
    return landmarks[None] if landmarks.ndim == 2 else landmarks, None if fps is None else float(fps.item())


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


def _to_npy(track: Track, path: Path) -> bytes:
    return npy_bytes(track.landmarks)


def _to_npz(track: Track, path: Path) -> bytes:
    arrays: dict[str, NDArray[Any]] = {"landmarks": track.landmarks, "fps": np.array(track.fps, np.float64)}
    return zip_bytes((f"{name}.npy", npy_bytes(array)) for name, array in arrays.items())


def _to_json(track: Track, path: Path) -> bytes:
    if len(track) > MAX_JSON_FRAMES:
        raise LandmarkError(f"{path}: track: {len(track)} frames, JSON takes {MAX_JSON_FRAMES}; write .npz instead")
    content = {"fps": float(track.fps), "landmarks": track.landmarks.tolist()}
    return (json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n").encode()


_PARSERS: dict[str, Callable[[bytes], Content]] = {".npy": _from_npy, ".npz": _from_npz, ".json": _from_json}
_BUILDERS: dict[str, Callable[[Track, Path], bytes]] = {".npy": _to_npy, ".npz": _to_npz, ".json": _to_json}
