"""The built-in head: stacked ellipses with slits for eyes and mouth, small and made from nothing.

It stands in where no morphable model is at hand: everything is there (68 landmarks, parts, texture tiles, identity
modes, expression shapes under ARKit's names) in ICT-FaceKit's frame and size, so that the same painters work on it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Bytes, Floats, Ints
from bilayer.training.heads.model import HeadModel
from bilayer.training.heads.noise import smooth
from bilayer.training.heads.occlusion import ambient_occlusion
from bilayer.training.heads.parts import FACE, HEAD, MOUTH_SOCKET, SCLERA_LEFT, SCLERA_RIGHT, TEETH
from bilayer.training.heads.props import grid_triangles

# Cross-sections in cm: height, half width, depth in front of the axis, depth behind it.
PROFILE = np.array(
    [
        (-17.0, 8.0, 5.0, 6.0), (-11.0, 5.6, 4.2, 5.0), (-8.6, 5.6, 6.5, 5.2), (-7.5, 5.8, 9.8, 5.5),
        (-5.0, 6.5, 10.7, 6.5), (-3.4, 6.9, 11.0, 7.3), (0.0, 7.3, 11.0, 8.0), (3.5, 7.5, 10.3, 8.8),
        (6.0, 7.5, 10.6, 9.0), (9.0, 7.1, 9.6, 8.5), (12.0, 5.2, 6.5, 6.0), (13.6, 2.6, 3.0, 3.0),
        (14.2, 0.1, 0.1, 0.1),
    ]
)  # fmt: skip
EYE_ROW, MOUTH_ROW = 3.5, -3.4  # cm, heights of the slits
OUTER_LIP_ROWS = (-2.6, -4.2)
EYE_CORNER_ANGLES, MOUTH_CORNER = (15, 36), 18  # degrees from the middle, on either side
EYE_MIDDLE = 25.5
LID_HEIGHT = 0.45  # cm that each lid stands off the slit in neutral
ROWS = (
    14.2, 13.6, 12.8, 12, 11, 10, 9, 8, 7, 6.4, 5.9, 5.2, 4.5, EYE_ROW, 2.6, 1.6, 1, 0.4, -0.4, -1.1, -1.8,
    OUTER_LIP_ROWS[0], MOUTH_ROW, OUTER_LIP_ROWS[1], -5, -6, -7, -7.5, -8, -8.6, -9.5, -11, -13, -15, -17,
)  # fmt: skip
COLUMNS = (*range(-180, -72, 9), *range(-72, 73, 3), *range(81, 181, 9))  # degrees
EYE_RADIUS = 1.6  # cm
GAZE = 25.0  # degrees that an eye turns at full weight


@dataclass(frozen=True, eq=False)
class _Mesh:
    """The head's geometry with what the shapes need to know of each vertex."""

    vertices: NDArray[np.float64]  # (V, 3) cm
    triangles: Ints  # (T, 3)
    angle: NDArray[np.float64]  # (V,) degrees; NaN inside of the head
    part: Bytes  # (V,)
    upper_lid: NDArray[np.bool_]  # (V,) the upper edge of an eye's slit
    lower_lid: NDArray[np.bool_]
    below_mouth: NDArray[np.bool_]  # (V,) the lower lip and what hangs on it, inside of the mouth too


def build_ellipsoid_head() -> HeadModel:
    """Build the head model that needs no files: an ellipsoid with a nose, eyes, mouth and expressions."""
    mesh = _build_mesh()
    vertices = mesh.vertices.astype(np.float32)
    names, shapes = zip(*_expressions(mesh).items(), strict=True)
    uv = _texture_places(mesh)
    return HeadModel(
        name="ellipsoid",
        vertices=vertices,
        triangles=mesh.triangles,
        uv=uv,
        uv_triangles=np.arange(len(uv), dtype=np.int32).reshape(-1, 3),
        part=mesh.part,
        landmarks=_landmarks(mesh),
        identity_modes=_identity_modes(mesh),
        expression_shapes=np.stack(shapes).astype(np.float32),
        expression_names=names,
        ambient_occlusion=ambient_occlusion(vertices, mesh.triangles),
    )


def _surface(angle: NDArray[np.float64], height: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (..., 3) of the skin without slits: angles in degrees (positive to the subject's left), heights in cm."""
    width, front, back = (np.interp(height, PROFILE[:, 0], PROFILE[:, k]) for k in (1, 2, 3))
    turn = np.radians(angle)
    x = width * np.sin(turn)
    z = np.where(np.cos(turn) > 0, front, back) * np.cos(turn)
    return np.stack([x, height, z + _nose(x, height) * (np.cos(turn) > 0)], axis=-1)


def _nose(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far the nose stands out of the face at positions (x, y), all in cm."""
    return np.asarray(np.exp(-((x / 0.9) ** 2)) * np.interp(y, (-2, -1.2, 0.3, 4), (0, 0.6, 2, 0)))


def _build_mesh() -> _Mesh:
    angle, height = np.meshgrid(np.array(COLUMNS, float), np.array(ROWS, float))
    number = np.arange(angle.size).reshape(angle.shape)
    eye_row, mouth_row = ROWS.index(EYE_ROW), ROWS.index(MOUTH_ROW)
    size = np.abs(angle[0])
    eye_slit = np.flatnonzero((size > EYE_CORNER_ANGLES[0]) & (size < EYE_CORNER_ANGLES[1]))
    mouth_slit = np.flatnonzero(size < MOUTH_CORNER)
    skin = _surface(angle, height).reshape(-1, 3)
    # The slits' lower edges are copies of the row's vertices; triangles below hang on the copies.
    copies = np.concatenate([number[eye_row, eye_slit], number[mouth_row, mouth_slit]])
    lower = number.copy()
    lower[eye_row, eye_slit] = number.size + np.arange(len(eye_slit))
    lower[mouth_row, mouth_slit] = number.size + len(eye_slit) + np.arange(len(mouth_slit))
    cells = grid_triangles(len(ROWS), len(COLUMNS))
    rows = cells.min(axis=1) // len(COLUMNS)
    below = np.isin(rows, (eye_row, mouth_row))
    triangles = np.where(below[:, None], lower.ravel()[cells], cells)
    skin = np.concatenate([skin, skin[copies]])
    angles = np.concatenate([angle.ravel(), angle.ravel()[copies]])
    upper_lid, lower_lid = np.zeros(len(skin), np.bool_), np.zeros(len(skin), np.bool_)
    upper_lid[number[eye_row, eye_slit]] = True
    lower_lid[lower[eye_row, eye_slit]] = True
    arch = np.sin(np.pi * (np.abs(angles) - EYE_CORNER_ANGLES[0]) / (EYE_CORNER_ANGLES[1] - EYE_CORNER_ANGLES[0]))
    skin[:, 1] += LID_HEIGHT * arch * (upper_lid.astype(float) - lower_lid)
    below_mouth = skin[:, 1] < MOUTH_ROW - 1e-6
    below_mouth[lower[mouth_row, mouth_slit]] = True

    pieces = [(skin, triangles, np.where(np.abs(angles) <= 90, FACE, HEAD), angles, below_mouth)]
    for label, side in ((SCLERA_LEFT, 1), (SCLERA_RIGHT, -1)):
        ball, faces = _eyeball(side)
        pieces.append((ball, faces, np.full(len(ball), label), np.full(len(ball), np.nan), np.zeros(len(ball), bool)))
    for points, faces, label, hangs in _mouth_inside():
        pieces.append((points, faces, np.full(len(points), label), np.full(len(points), np.nan), hangs))
    starts = np.cumsum([0, *(len(piece[0]) for piece in pieces)])
    vertices = np.concatenate([piece[0] for piece in pieces])
    extra = np.zeros(len(vertices) - len(skin), np.bool_)
    return _Mesh(
        vertices=vertices,
        triangles=np.concatenate([piece[1] + start for piece, start in zip(pieces, starts, strict=False)]).astype(
            np.int32
        ),
        angle=np.concatenate([piece[3] for piece in pieces]),
        part=np.concatenate([piece[2] for piece in pieces]).astype(np.uint8),
        upper_lid=np.concatenate([upper_lid, extra]),
        lower_lid=np.concatenate([lower_lid, extra]),
        below_mouth=np.concatenate([piece[4] for piece in pieces]),
    )


def _eye_centre(side: int) -> NDArray[np.float64]:
    middle = _surface(np.array(side * EYE_MIDDLE), np.array(EYE_ROW))
    return np.asarray(middle - (0, 0, EYE_RADIUS + 0.45))


def _eyeball(side: int) -> tuple[NDArray[np.float64], Ints]:
    """The front half of a ball 0.45 cm behind the skin, and a plate behind it: no view past the ball is left open."""
    around, out = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, np.pi / 2, 9))
    ball = EYE_RADIUS * np.stack([np.cos(around) * np.sin(out), np.sin(around) * np.sin(out), np.cos(out)], axis=-1)
    angle, height = np.meshgrid(side * EYE_MIDDLE + np.linspace(-18, 18, 5), EYE_ROW + np.linspace(1.4, -1.4, 3))
    plate = _surface(angle, height) - (0, 0, 1.3)
    points = np.concatenate([ball.reshape(-1, 3) + _eye_centre(side), plate.reshape(-1, 3)])
    return points, np.concatenate([grid_triangles(9, 25), grid_triangles(3, 5) + 9 * 25])


def _mouth_inside() -> list[tuple[NDArray[np.float64], Ints, int, NDArray[np.bool_]]]:
    """A dark bowl behind the lips, and two rows of teeth."""
    across, down = np.meshgrid(np.linspace(-1, 1, 13), np.linspace(1, -1, 9))
    depth = np.sqrt(np.clip(1 - np.maximum(across**2, down**2), 0, 1))
    rim = _surface(24 * across, MOUTH_ROW + 1.4 * down)
    bowl = (rim - np.multiply.outer(0.2 + 4 * depth, (0, 0, 1))).reshape(-1, 3)
    pieces = [(bowl, grid_triangles(9, 13), MOUTH_SOCKET, bowl[:, 1] < MOUTH_ROW)]
    for top, bottom, hangs in ((0.5, -0.15, False), (-0.2, -0.8, True)):
        angle, height = np.meshgrid(np.linspace(-16, 16, 13), MOUTH_ROW + np.linspace(top, bottom, 3))
        teeth = (_surface(angle, height) - (0, 0, 0.9)).reshape(-1, 3)
        pieces.append((teeth, grid_triangles(3, 13), TEETH, np.full(len(teeth), hangs)))
    return pieces


def _texture_places(mesh: _Mesh) -> Floats:
    """Texture coordinates (3 * T, 2), the corners of each triangle in turn: front in tile 0, back in tile 1."""
    angle, height = mesh.angle[mesh.triangles], mesh.vertices[mesh.triangles, 1]
    back = np.abs(angle.mean(axis=1)) > 90
    around = np.where(back[:, None], np.mod(angle, 360) - 90, angle + 90) / 180
    u = np.where(np.isnan(around), 0.5, 0.03 + 0.94 * around) + back[:, None]
    v = 0.03 + 0.94 * (height - ROWS[-1]) / (ROWS[0] - ROWS[-1])
    return np.stack([u, v], axis=-1).reshape(-1, 2).astype(np.float32)


def _landmarks(mesh: _Mesh) -> NDArray[np.int64]:
    """The 68 iBUG landmarks' vertices, found by angle and height."""
    on_skin = ~np.isnan(mesh.angle)
    plain = on_skin & ~mesh.lower_lid & ~mesh.upper_lid

    def find(among: NDArray[np.bool_], angle: float, height: float) -> int:
        away = (0.12 * (mesh.angle - angle)) ** 2 + (mesh.vertices[:, 1] - height) ** 2
        return int(np.argmin(np.where(among & on_skin, away, np.inf)))

    at_mouth = np.abs(mesh.vertices[:, 1] - MOUTH_ROW) < 1e-6
    upper_lip, lower_lip = at_mouth & ~mesh.below_mouth, at_mouth & mesh.below_mouth
    jaw = np.linspace(-70, 70, 17)
    points = [find(plain, a, 3.7 - 11.2 * (1 - abs(a / 70) ** 2.2)) for a in jaw]
    points += [find(plain, a, h) for a, h in zip((-48, -39, -30, -20, -9), (5.2, 5.9, 6.4, 6.2, 5.9), strict=True)]
    points += [find(plain, a, h) for a, h in zip((9, 20, 30, 39, 48), (5.9, 6.2, 6.4, 5.9, 5.2), strict=True)]
    points += [find(plain, 0, h) for h in (EYE_ROW, 2.6, 1.6, 0.4)]
    points += [find(plain, a, -1.1) for a in (-9, -3, 0, 3, 9)]
    for side in (-1, 1):
        outer, inner = (find(plain, side * a, EYE_ROW) for a in reversed(EYE_CORNER_ANGLES))
        upper = [find(mesh.upper_lid, side * a, EYE_ROW) for a in (30, 21)]
        lower = [find(mesh.lower_lid, side * a, EYE_ROW) for a in (21, 30)]
        points += [outer, *upper, inner, *lower] if side < 0 else [inner, *upper[::-1], outer, *lower[::-1]]
    points += [find(plain, -21, MOUTH_ROW), *(find(plain, a, OUTER_LIP_ROWS[0]) for a in (-15, -6, 0, 6, 15))]
    points += [find(plain, 21, MOUTH_ROW), *(find(plain, a, OUTER_LIP_ROWS[1]) for a in (12, 6, 0, -6, -12))]
    points += [find(upper_lip, a, MOUTH_ROW) for a in (-18, -9, 0, 9, 18)]
    points += [find(lower_lip, a, MOUTH_ROW) for a in (9, 0, -9)]
    return np.array(points, np.int64)


def _identity_modes(mesh: _Mesh) -> Floats:
    """Width, length, jaw, nose, forehead and depth, per standard deviation."""
    x, y, z = mesh.vertices.T
    none = np.zeros_like(x)
    modes = [
        (0.05 * x, none, none),
        (none, 0.05 * y, none),
        (0.07 * x * smooth(0, -6, y), none, none),
        (none, none, 0.25 * _nose(x, y) * ~np.isnan(mesh.angle) * (z > 0)),
        (none, 0.06 * np.maximum(y - 6, 0), none),
        (none, none, 0.04 * z),
    ]
    return np.stack([np.stack(mode, axis=1) for mode in modes]).astype(np.float32)


def _expressions(mesh: _Mesh) -> dict[str, NDArray[np.float64]]:
    """Displacements (V, 3) at full weight, by ARKit's names."""
    shapes: dict[str, NDArray[np.float64]] = {}
    x, y, z = mesh.vertices.T
    skin = ~np.isnan(mesh.angle)
    front = skin & (z > 2)

    def moved(amount: NDArray[np.float64], right: float = 0, up: float = 0, out: float = 0) -> NDArray[np.float64]:
        return np.asarray(np.multiply.outer(amount, np.array([right, up, out])))

    def spot(at_x: float, at_y: float, width: float, height: float) -> NDArray[np.float64]:
        return np.asarray(np.exp(-(((x - at_x) / width) ** 2) - ((y - at_y) / height) ** 2) * front)

    chin = np.clip((MOUTH_ROW - y) / 2.5, 0, 1)
    across = (1 - chin) * np.clip(1 - (x / 2.7) ** 2, 0, 1) + chin * np.exp(-((x / 5) ** 2))
    jaw = mesh.below_mouth * across * smooth(-11, -8, y) * smooth(1.5, 5, z)
    lips = spot(0, MOUTH_ROW, 2.6, 1.4)
    parting = np.clip(1 - (x / 2.7) ** 2, 0, 1) * spot(0, MOUTH_ROW, 4, 0.8)
    shapes["jawOpen"] = moved(jaw, up=-2.6, out=-0.4)
    shapes["jawLeft"], shapes["jawRight"] = moved(jaw, right=0.7), moved(jaw, right=-0.7)
    shapes["mouthPucker"] = np.stack([-0.4 * x * lips, 0 * x, 0.5 * lips], axis=1)
    shapes["mouthFunnel"] = moved(parting * np.where(mesh.below_mouth, -1, 1), up=0.6, out=0) + moved(lips, out=0.5)
    shapes["mouthLeft"], shapes["mouthRight"] = moved(lips, right=0.7), moved(lips, right=-0.7)
    for suffix, side in (("_L", 1), ("_R", -1)):
        half = smooth(-0.6, 0.6, side * x)
        corner = spot(side * 2.4, MOUTH_ROW, 1.5, 1.4)
        shapes["mouthSmile" + suffix] = moved(corner, right=side * 0.5, up=0.7)
        shapes["mouthFrown" + suffix] = moved(corner, up=-0.7)
        shapes["mouthStretch" + suffix] = moved(corner, right=side * 0.6, up=-0.1)
        shapes["mouthUpperUp" + suffix] = moved(parting * half * ~mesh.below_mouth, up=0.5)
        shapes["mouthLowerDown" + suffix] = moved(parting * half * mesh.below_mouth, up=-0.5)
        shapes["cheekPuff" + suffix] = moved(spot(side * 4.2, -2, 1.8, 2), right=side * 0.5, out=0.6)
        shapes["browInnerUp" + suffix] = moved(spot(side * 1.8, 6, 1.8, 1.2), up=0.7)
        shapes["browOuterUp" + suffix] = moved(spot(side * 4.5, 5.8, 1.8, 1.2), up=0.7)
        shapes["browDown" + suffix] = moved(spot(side * 2.6, 6, 2.6, 1.2), right=-side * 0.15, up=-0.6)
        upper, lower = mesh.upper_lid & (side * x > 0), mesh.lower_lid & (side * x > 0)
        opening = 2 * (y - EYE_ROW)
        shapes["eyeBlink" + suffix] = moved(upper * opening, up=-1)
        shapes["eyeSquint" + suffix] = moved(upper * opening, up=-0.25) + moved(lower * opening, up=-0.3)
        shapes["eyeWide" + suffix] = moved(upper * opening, up=0.3)
        ball = (mesh.part == (SCLERA_LEFT if side > 0 else SCLERA_RIGHT))[:, None]
        off = mesh.vertices - _eye_centre(side)
        for name, yaw, pitch in (("Out", side, 0), ("In", -side, 0), ("Up", 0, 1), ("Down", 0, -1)):
            shapes["eyeLook" + name + suffix] = ball * (_turn(off, GAZE * yaw, GAZE * pitch) - off)
    return dict(sorted(shapes.items()))


def _turn(points: NDArray[np.float64], yaw: float, pitch: float) -> NDArray[np.float64]:
    """Points turned to the subject's left by `yaw` degrees, then up by `pitch`."""
    x, y, z = points.T
    cos, sin = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    x, z = cos * x + sin * z, cos * z - sin * x
    cos, sin = np.cos(np.radians(pitch)), np.sin(np.radians(pitch))
    return np.stack([x, cos * y + sin * z, cos * z - sin * y], axis=1)
