"""ICT-FaceKit's light face model (github.com/ICT-VGL/ICT-FaceKit, MIT licence) reduced to what is rendered.

A checkout holds one Wavefront OBJ file a shape, 3 MB each, with eyelashes, tear ducts and the like. The reduced form is
one `head_model.npz` of 5 MB: the parts that show, triangles, and shapes as bytes with a scale each.
Vertex ranges and landmark vertices are those of the checkout's README.
"""

import io
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Floats, Ints
from bilayer.runtime.errors import InputError, in_short
from bilayer.runtime.files.arrays import npy_bytes
from bilayer.runtime.files.reading import FileKind, is_file, list_folder, read_bytes
from bilayer.runtime.files.writing import write_files
from bilayer.training.heads.occlusion import ambient_occlusion

MODEL_FILE = "head_model.npz"
OCCLUSION_FILE = "ambient_occlusion.npy"

SHAPES_FOLDER = "FaceXModel"
NEUTRAL_FILE = "generic_neutral_mesh.obj"
NUM_VERTICES = 26719
# First and last vertex of each part that is kept, in the order of the labels in `model`.
PART_RANGES = (
    (0, 9408), (9409, 11247), (11248, 13293), (14062, 17038), (17039, 21450),
    (21451, 22220), (22221, 23020), (23021, 23790), (23791, 24590),
)  # fmt: skip
# The README's Multi-PIE 68 points; face vertices, which keep their numbers.
LANDMARK_VERTICES = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443, 268, 493, 1914,
    2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360, 1507, 1542, 1537,
    1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732, 5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518,
    5957, 5841, 5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
)  # fmt: skip
_IDENTITY = re.compile(r"identity\d+\.obj")
_LEFT_OUT = re.compile(r"(Pupil|cheekRaiser).*\.obj")  # invisible at this size; a copy of cheekSquint
_CORNER = re.compile(rb"(\d+)/(\d+)")


def is_checkout(folder: Path) -> bool:
    """Tell whether the folder has ICT-FaceKit's neutral mesh where a checkout of it does."""
    return is_file(folder / SHAPES_FOLDER / NEUTRAL_FILE)


def reduce_checkout(checkout: Path, out_folder: Path) -> Path:
    """Write `head_model.npz` and `ambient_occlusion.npy` into `out_folder` (made if absent); about half a minute.

    Returns:
        The written `head_model.npz`; `load_head_model(out_folder)` reads it.

    Raises:
        InputError: not a checkout, or one of its files is damaged.
        OutputError: `out_folder` cannot be written to.
    """
    if not is_checkout(checkout):
        raise InputError(f"{checkout}: no {SHAPES_FOLDER}/{NEUTRAL_FILE}; expected a checkout of ICT-VGL/ICT-FaceKit")
    fields = read_checkout(checkout)
    occlusion = ambient_occlusion(fields["V"], fields["T"].astype(np.int32))
    model = io.BytesIO()
    np.savez_compressed(model, allow_pickle=False, **fields)
    write_files(out_folder, {OCCLUSION_FILE: npy_bytes(occlusion), MODEL_FILE: model.getvalue()})
    return out_folder / MODEL_FILE


def read_checkout(checkout: Path) -> dict[str, NDArray[Any]]:
    """Read a checkout of ICT-FaceKit into the arrays of the reduced form, by name.

    `V` (V, 3) cm; `T` (T, 3) triangles; `TT` (T, 3) into `uv` (C, 2); `part` (V,); `lm` (68,); `ID` (K, V, 3) bytes
    with `IDs` (K,) cm a step; `EX` (E, V, 3) and `EXs` (E,) likewise, `names` (E,).

    Raises:
        InputError: a file is missing, damaged or of another topology.
    """
    folder = checkout / SHAPES_FOLDER
    kept = np.concatenate([np.arange(first, last + 1) for first, last in PART_RANGES])
    part = np.concatenate([np.full(last + 1 - first, k, np.uint8) for k, (first, last) in enumerate(PART_RANGES)])
    neutral = _read_positions(folder / NEUTRAL_FILE)[kept]
    files = sorted(file for file in list_folder(folder, "*.obj") if file.name != NEUTRAL_FILE)
    modes = [file for file in files if _IDENTITY.fullmatch(file.name)]
    expressions = [file for file in files if file not in modes and not _LEFT_OUT.fullmatch(file.name)]
    if not modes or not expressions:
        raise InputError(
            f"{folder}: expected identityNNN.obj and expression files; "
            f"found {len(modes)} and {len(expressions)} of them; fetch the checkout again"
        )
    identity, identity_scale = _quantise([_read_positions(file)[kept] - neutral for file in modes])
    expression, expression_scale = _quantise([_read_positions(file)[kept] - neutral for file in expressions])
    triangles, uv_triangles, uv = _read_faces(folder / NEUTRAL_FILE, kept)
    return {
        "V": neutral,
        "T": triangles,
        "TT": uv_triangles,
        "uv": uv,
        "part": part,
        "lm": np.array(LANDMARK_VERTICES, np.int64),
        "ID": identity,
        "IDs": identity_scale,
        "EX": expression,
        "EXs": expression_scale,
        "names": np.array([file.stem for file in expressions]),
    }


def _read_lines(file: Path, prefix: bytes) -> list[bytes]:
    return [line for line in read_bytes(file, FileKind.MESH).split(b"\n") if line.startswith(prefix)]


def _read_positions(file: Path) -> Floats:
    """Read all vertices (26719, 3) of an OBJ file, in cm."""
    lines = _read_lines(file, b"v ")
    try:
        positions = np.array([line.split()[1:4] for line in lines], dtype=np.float32).reshape(-1, 3)
    except ValueError as error:
        raise InputError(f"{file}: field v: expected three numbers a line ({in_short(error)})") from error
    if len(positions) != NUM_VERTICES or not np.isfinite(positions).all():
        raise InputError(
            f"{file}: field v: expected {NUM_VERTICES} finite vertices, found {len(positions)}; "
            "is it ICT-FaceKit's light model, fetched whole (git lfs)?"
        )
    return positions


def _quantise(shapes: list[Floats]) -> tuple[NDArray[np.int8], Floats]:
    """Shapes as bytes, and the step (one a shape) that they count in."""
    steps = np.array([max(float(np.abs(shape).max()), 1e-6) / 127 for shape in shapes], np.float32)
    whole = [np.round(shape / step).astype(np.int8) for shape, step in zip(shapes, steps, strict=True)]
    return np.stack(whole), steps


def _read_faces(file: Path, kept: NDArray[np.int64]) -> tuple[Ints, Ints, Floats]:
    """Triangles of the kept vertices, their texture corners, and the texture coordinates in use."""
    number = np.full(NUM_VERTICES, -1, np.int32)
    number[kept] = np.arange(len(kept), dtype=np.int32)
    try:
        uv = np.array([line.split()[1:3] for line in _read_lines(file, b"vt ")], np.float32).reshape(-1, 2)
    except ValueError as error:
        raise InputError(f"{file}: field vt: expected two numbers a line ({in_short(error)})") from error
    corners: list[tuple[int, int, int, int, int, int]] = []
    for line in _read_lines(file, b"f "):
        face = [(int(vertex) - 1, int(texel) - 1) for vertex, texel in _CORNER.findall(line)]
        if len(face) < 3 or any(vertex >= NUM_VERTICES or texel >= len(uv) for vertex, texel in face):
            raise InputError(f"{file}: field f: expected vertex/texture pairs of this file, found {line[:60]!r}")
        for (v1, t1), (v2, t2) in pairwise(face[1:]):
            corners.append((face[0][0], v1, v2, face[0][1], t1, t2))
    table = np.array(corners, np.int64).reshape(-1, 6)
    triangles, uv_triangles = number[table[:, :3]], table[:, 3:]
    whole = (triangles >= 0).all(axis=1)
    if not whole.any():
        raise InputError(f"{file}: field f: no faces between the vertices that are drawn")
    used, renumbered = np.unique(uv_triangles[whole], return_inverse=True)
    return triangles[whole], renumbered.reshape(-1, 3).astype(np.int32), uv[used]
