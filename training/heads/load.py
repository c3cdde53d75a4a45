"""A head model from a file, from a checkout of ICT-FaceKit, or the built-in one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Floats, Ints
from bilayer.runtime.errors import InputError
from bilayer.runtime.face.ibug import NUM_LANDMARKS
from bilayer.runtime.files.arrays import parse_npy, parse_npz
from bilayer.runtime.files.reading import FileKind, is_file, read_bytes
from bilayer.training.heads import ellipsoid, ict_facekit
from bilayer.training.heads.ict_facekit import MODEL_FILE, OCCLUSION_FILE
from bilayer.training.heads.model import HeadModel
from bilayer.training.heads.occlusion import ambient_occlusion
from bilayer.training.heads.parts import EYES_BY_SIDE, FACE, IRIS_RIGHT

REQUIRED_EXPRESSIONS = ("eyeBlink_L", "eyeBlink_R")  # of the shapes by name, the renderer itself needs these

# Order of the expression shapes in a reduced file that does not name them: the OBJ files' alphabetical order.
EXPRESSION_NAMES = (
    "browDown_L", "browDown_R", "browInnerUp_L", "browInnerUp_R", "browOuterUp_L", "browOuterUp_R", "cheekPuff_L",
    "cheekPuff_R", "cheekSquint_L", "cheekSquint_R", "eyeBlink_L", "eyeBlink_R", "eyeLookDown_L", "eyeLookDown_R",
    "eyeLookIn_L", "eyeLookIn_R", "eyeLookOut_L", "eyeLookOut_R", "eyeLookUp_L", "eyeLookUp_R", "eyeSquint_L",
    "eyeSquint_R", "eyeWide_L", "eyeWide_R", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose",
    "mouthDimple_L", "mouthDimple_R", "mouthFrown_L", "mouthFrown_R", "mouthFunnel", "mouthLeft", "mouthLowerDown_L",
    "mouthLowerDown_R", "mouthPress_L", "mouthPress_R", "mouthPucker", "mouthRight", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmile_L", "mouthSmile_R", "mouthStretch_L",
    "mouthStretch_R", "mouthUpperUp_L", "mouthUpperUp_R", "noseSneer_L", "noseSneer_R",
)  # fmt: skip


def load_head_model(path: Path | None) -> HeadModel:
    """Return the head model in `path`; None: the built-in ellipsoid head.

    `path` is a folder with a reduced model (`head_model.npz`, optionally `ambient_occlusion.npy`), or an ICT-FaceKit
    checkout (with `FaceXModel/generic_neutral_mesh.obj`), which is reduced in memory on every call: keep the result
    with `ict_facekit.reduce_checkout`.

    Raises:
        InputError: neither is there, or a file is damaged; the message names the file and the field.
    """
    if path is None:
        return ellipsoid.build_ellipsoid_head()
    if is_file(path / MODEL_FILE):
        return _read_reduced(path)
    if ict_facekit.is_checkout(path):
        return model_from_arrays(ict_facekit.read_checkout(path), None, str(path))
    raise InputError(
        f"{path}: expected a folder with {MODEL_FILE}, or an ICT-FaceKit checkout (FaceXModel/*.obj); found neither"
    )


def _read_reduced(folder: Path) -> HeadModel:
    file = folder / MODEL_FILE
    try:
        fields = parse_npz(read_bytes(file, FileKind.ARRAY), FileKind.ARRAY.most)
    except ValueError as error:
        raise InputError(f"{file}: not a readable .npz archive of plain arrays ({error})") from error
    occlusion_file, occlusion = folder / OCCLUSION_FILE, None
    if is_file(occlusion_file):
        try:
            occlusion = parse_npy(read_bytes(occlusion_file, FileKind.ARRAY))
        except ValueError as error:
            raise InputError(f"{occlusion_file}: not a readable .npy array ({error})") from error
        count = len(np.atleast_1d(fields.get("V", ())))
        if occlusion.shape != (count,) or occlusion.dtype.kind not in "fiu" or not np.isfinite(occlusion).all():
            raise InputError(
                f"{occlusion_file}: expected {count} finite numbers, one a vertex; "
                f"found shape {occlusion.shape} of {occlusion.dtype}"
            )
    return model_from_arrays(fields, occlusion, str(file))


def model_from_arrays(fields: dict[str, NDArray[Any]], occlusion: NDArray[Any] | None, source: str) -> HeadModel:
    """Return a HeadModel of the reduced form's fields (see `ict_facekit.reduce_checkout`); errors name `source`.

    Raises:
        InputError: a field is absent, of the wrong shape, not finite, or points outside of what it indexes.
    """
    check = _Checker(fields, source)
    vertices = check.floats("V", (None, 3))
    count = len(vertices)
    uv = check.floats("uv", (None, 2))
    triangles = check.indices("T", (None, 3), count)
    names = tuple(map(str, np.ravel(fields["names"]))) if "names" in fields else EXPRESSION_NAMES
    expressions = check.shapes("EX", "EXs", count)
    if len(expressions) != len(names):
        raise InputError(f"{source}: field EX: expected {len(names)} expression shapes, found {len(expressions)}")
    lacking = sorted(set(REQUIRED_EXPRESSIONS) - set(names))
    if lacking:
        raise InputError(f"{source}: field names: expected a shape {lacking[0]}, found none of that name")
    part = check.indices("part", (count,), IRIS_RIGHT + 1).astype(np.uint8)
    for label in (FACE, *EYES_BY_SIDE):
        if not (part == label).any():
            raise InputError(
                f"{source}: field part: expected face (0) and eyes (5, 7), found no vertex of part {label}"
            )
    landmarks = check.indices("lm", (NUM_LANDMARKS,), count).astype(np.int64)
    uv_triangles = check.indices("TT", triangles.shape, len(uv))
    modes = check.shapes("ID", "IDs", count)
    if occlusion is None:
        occlusion = ambient_occlusion(vertices, triangles)
    return HeadModel(
        name=Path(source).parent.name or "head",
        vertices=vertices,
        triangles=triangles,
        uv=uv,
        uv_triangles=uv_triangles,
        part=part,
        landmarks=landmarks,
        identity_modes=modes,
        expression_shapes=expressions,
        expression_names=names,
        ambient_occlusion=np.ascontiguousarray(occlusion, dtype=np.float32),
    )


@dataclass(frozen=True)
class _Checker:
    """Takes fields out of an archive that nobody has vouched for."""

    fields: dict[str, NDArray[Any]]
    source: str

    def array(self, name: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
        if name not in self.fields:
            raise InputError(f"{self.source}: field {name} is missing; reduce the ICT-FaceKit checkout again")
        value = self.fields[name]
        fits = value.ndim == len(shape) and all(
            want is None or have == want for have, want in zip(value.shape, shape, strict=True)
        )
        if not fits or value.size == 0 or value.dtype.kind not in "fiu":
            expected = " x ".join("any" if want is None else str(want) for want in shape)
            raise InputError(
                f"{self.source}: field {name}: expected {expected} numbers, found shape {value.shape} of {value.dtype}"
            )
        return value

    def floats(self, name: str, shape: tuple[int | None, ...]) -> Floats:
        value = np.ascontiguousarray(self.array(name, shape), dtype=np.float32)
        if not np.isfinite(value).all():
            raise InputError(f"{self.source}: field {name}: holds values that are not finite numbers")
        return value

    def indices(self, name: str, shape: tuple[int | None, ...], below: int) -> Ints:
        value = self.array(name, shape)
        if value.dtype.kind == "f" or value.min() < 0 or value.max() >= below:
            raise InputError(f"{self.source}: field {name}: expected whole numbers in 0..{below - 1}, found others")
        return np.ascontiguousarray(value, dtype=np.int32)

    def shapes(self, name: str, scale: str, count: int) -> Floats:
        whole = self.array(name, (None, count, 3))
        return self.floats(name, whole.shape) * self.floats(scale, (len(whole),))[:, None, None]
