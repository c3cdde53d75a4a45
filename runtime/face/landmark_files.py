"""68 facial landmarks out of a .npy, .json, .csv or .pts file: for those who have a tracker of their own.

| file  | holds                                                                                     |
|-------|-------------------------------------------------------------------------------------------|
| .npy  | a (68, 2) array of numbers                                                                |
| .json | a list of 68 [x, y] pairs, or an object with such a list under "landmarks"                |
| .csv  | 68 lines `x,y` (or `x;y`, or with a tab), one line of headings allowed                    |
| .pts  | 300-W: `version: 1`, `n_points: 68`, then 68 lines `x y` between braces                   |

In all but .pts the centre of the top left pixel is (0, 0). In .pts it is (1, 1): 300-W was annotated in Matlab,
and Menpo's importer (menpo.io, PTSImporter) subtracts 1 for the same reason, as is done here.
"""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bilayer.runtime.arrays import Floats
from bilayer.runtime.errors import LandmarkError, in_short
from bilayer.runtime.face.crop import check_landmarks
from bilayer.runtime.face.ibug import NUM_LANDMARKS
from bilayer.runtime.files.arrays import parse_npy
from bilayer.runtime.files.reading import FileKind, read_bytes
from bilayer.runtime.typed_json import typed
from bilayer.runtime.vocabulary import LANDMARK_SUFFIXES


def read_landmarks(path: str | Path) -> Floats:
    """Read 68 landmarks as (68, 2) float32 (x, y) in photo pixels, iBUG order.

    Raises:
        LandmarkError: no such file, another extension, not the format, another shape, NaN or infinite values.
    """
    path = Path(path)
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        found = path.suffix or "no extension"
        raise LandmarkError(f"{path}: landmarks: expected a {', '.join(_PARSERS)} file, found {found}")
    content = read_bytes(path, FileKind.LANDMARKS, LandmarkError)
    try:
        with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is reported as such
            return check_landmarks(parse(content))
    except LandmarkError as error:
        raise LandmarkError(f"{path}: {error}") from error
    except (ValueError, OverflowError, RecursionError, csv.Error) as error:
        found = f"found none to read ({in_short(error)}); save the points anew"
        raise LandmarkError(f"{path}: landmarks: expected 68 (x, y) pairs as {path.suffix}, {found}") from error


def _read_npy(content: bytes) -> object:
    if content.startswith(b"PK"):
        raise LandmarkError("landmarks: expected one array, found an archive of them; np.save one (68, 2) array")
    array = parse_npy(content)
    if array.dtype.kind not in "fiu":
        raise LandmarkError(f"landmarks: expected numbers, found {array.dtype}; save them as float32")
    return array


def _read_json(given: bytes) -> object:
    content: Any = json.loads(given.decode("utf-8-sig"))
    if isinstance(content, dict):
        if "landmarks" not in content:
            raise LandmarkError(f'landmarks: expected the field "landmarks", found {sorted(map(str, content))[:8]}')
        content = content["landmarks"]
    return typed(
        dict[str, list[tuple[float, float]]], {"landmarks": content}, "", "save the points anew", LandmarkError
    )["landmarks"]


def _read_csv(content: bytes) -> object:
    text = content.decode("utf-8-sig")
    delimiter = next((mark for mark in ";\t," if mark in text), ",")
    rows = [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if any(cell.strip() for cell in row)]
    if len(rows) == NUM_LANDMARKS + 1:
        rows = rows[1:]  # headings
    return [[float(cell) for cell in row] for row in rows]


def _read_pts(content: bytes) -> object:
    text = content.decode("utf-8-sig")
    body = re.search(r"\{([^{}]*)\}", text)
    if not text.lstrip().startswith("version:") or body is None:
        raise LandmarkError("landmarks: expected `version: 1`, `n_points: 68` and `{ ... }` of the 300-W format")
    rows = [[float(cell) for cell in line.split()] for line in body[1].splitlines() if line.strip()]
    return check_landmarks(rows) - 1


_PARSERS: dict[str, Callable[[bytes], object]] = {
    ".npy": _read_npy,
    ".json": _read_json,
    ".csv": _read_csv,
    ".pts": _read_pts,
}
assert tuple(_PARSERS) == LANDMARK_SUFFIXES
