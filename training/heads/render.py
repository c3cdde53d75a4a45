"""Pictures of a posed head, with exact landmarks, mask and canonical texture coordinates."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Bytes, Floats, Ints
from bilayer.runtime.face.ibug import EYES, INNER_LIPS
from bilayer.training.heads.identity import Identity
from bilayer.training.heads.kernels.geometry import blend_shapes, lift_shell, pose_points, project, vertex_normals
from bilayer.training.heads.kernels.raster import rasterise
from bilayer.training.heads.kernels.shading import shade
from bilayer.training.heads.model import HeadModel
from bilayer.training.heads.pose import HeadPose
from bilayer.training.heads.scene_mesh import SceneMesh

PIVOT = np.array([0, -4, -1], np.float32)  # cm; the joint that the head turns about, between the ears' lower ends
APERTURE_MARGIN = 0.03  # of the frame: eyes and mouth are drawn this far around their landmarks
LIP_MIDDLES = [62, 66]  # landmarks in the middle of the upper and the lower lip
OPEN_MOUTH = 1.2  # cm between them, from where on the light gets in
APERTURES = (*EYES, INNER_LIPS)


@dataclass(frozen=True, eq=False)
class RenderedHead:
    """A frame and everything a trainer may want to know of it."""

    image: Bytes  # (S, S, 3) RGB
    mask: Bytes  # (S, S) share of each pixel that the person covers, hair and clothes included, 0..255
    landmarks: Floats  # (68, 2) pixels, x right and y down, from the picture's corner
    coords: NDArray[np.float16]  # (S, S, 2) canonical texture coordinate, -1..1; NaN: background, inside of the mouth


def render_head(
    model: HeadModel, identity: Identity, pose: HeadPose, size: int = 256, supersampling: int = 2
) -> RenderedHead:
    """Draw `identity` (sampled from this `model`) in `pose`: the same bytes in any process and thread.

    Keeps no state, so that threads may render at once (the work releases the GIL).

    Args:
        size: side of the square picture in pixels.
        supersampling: samples per pixel and axis.
    """
    points, normals = _deform(model, identity, pose)
    posed, posed_normals = np.empty_like(points), np.empty_like(points)
    rotation = _rotation(pose)
    offset = np.array([*pose.translation, 0], np.float32)
    pose_points(points, normals, identity.mesh.follow, rotation, PIVOT, offset, posed, posed_normals)

    side, camera, screen = size * supersampling, identity.camera, np.empty_like(posed)
    project(
        posed,
        camera.eye,
        np.float32(camera.focal * pose.scale * side),
        *(np.float32(c * side) for c in camera.centre),
        *(np.float32(m) for m in camera.middle),
        screen,
    )
    landmarks = screen[model.landmarks, :2]
    owner, depth = _rasterise(identity.mesh, screen, landmarks, side)

    image, mask = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.uint8)
    coords = np.empty((size, size, 2), np.float32)
    mesh, background, light = identity.mesh, identity.background, identity.light
    if background.shape[0] != size:
        shrinks = background.shape[0] > size
        background = cv2.resize(
            background, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        ).astype(np.float32, copy=False)
    shade(
        owner, depth, supersampling, screen, mesh.triangles, mesh.corner_uv, mesh.kinds,
        posed_normals, posed, mesh.colours, mesh.occlusion, mesh.rest,
        _mouth_light(model, points), identity.texture, identity.eyes, camera.eye,
        np.ascontiguousarray(rotation[:, 1]), light.directions, light.colours, light.ambient,
        background, np.float32(light.exposure), identity.tone, image, mask, coords,
    )  # fmt: skip
    return RenderedHead(image, mask, landmarks / np.float32(supersampling), coords.astype(np.float16))


def _deform(model: HeadModel, identity: Identity, pose: HeadPose) -> tuple[Floats, Floats]:
    """The scene's vertices and normals (M, 3) before the head turns."""
    count, shell = len(identity.vertices), identity.shell
    props = count + len(shell.vertices)
    points = np.empty((len(identity.mesh.rest), 3), np.float32)
    normals = np.empty_like(points)
    weights = pose.weights.astype(np.float32)
    for name, gain in zip(("eyeBlink_L", "eyeBlink_R"), identity.blink_gain, strict=True):
        weights[model.expression_index(name)] *= gain
    active = np.flatnonzero(weights)
    blend_shapes(identity.vertices, model.expression_shapes, active, weights[active], points[:count])
    vertex_normals(points[:count], model.surfaces.triangles, normals[:count])
    lift_shell(points[:count], normals[:count], shell.vertices, shell.lift, points[count:props])
    normals[count:props] = identity.shell_normals
    points[props:], normals[props:] = identity.mesh.prop_vertices, identity.mesh.prop_normals
    return points, normals


def _rotation(pose: HeadPose) -> Floats:
    """Matrix (3, 3): roll, then pitch, then yaw."""
    yaw, pitch, roll = np.radians([pose.yaw, -pose.pitch, pose.roll])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.asarray(about_y @ about_x @ about_z, dtype=np.float32)


def _mouth_light(model: HeadModel, points: Floats) -> np.float32:
    """Share of the light that gets in between the lips, 0..1."""
    upper, lower = points[model.landmarks[LIP_MIDDLES]]
    return np.float32(np.clip(np.linalg.norm(upper - lower) / OPEN_MOUTH, 0.15, 1))


def _rasterise(mesh: SceneMesh, screen: Floats, landmarks: Floats, side: int) -> tuple[Ints, Floats]:
    """Return for each sample (side, side) the triangle that it shows, -1 for none, and 1 / its depth.

    Eyes and the mouth's inside show only through the lids and lips: no more of them is drawn.
    """
    depth, owner = np.zeros((side, side), np.float32), np.full((side, side), -1, np.int32)
    triangles, closed, sheets = mesh.triangles, mesh.closed, mesh.sheets
    rasterise(screen, triangles, 0, closed, True, 0, 0, side, side, depth, owner)
    rasterise(screen, triangles, closed, sheets, False, 0, 0, side, side, depth, owner)
    margin = APERTURE_MARGIN * side
    for aperture in APERTURES:
        left, top = np.maximum(landmarks[aperture].min(axis=0) - margin, 0).astype(int)
        right, bottom = np.clip(landmarks[aperture].max(axis=0) + margin + 1, 0, side).astype(int)
        rasterise(screen, triangles, sheets, len(triangles), True, left, top, right, bottom, depth, owner)
    return owner, depth
