"""Hair: painted roots, a shell raised off the scalp, and a sheet for long hair."""

from dataclasses import dataclass

import cv2
import numpy as np

from bilayer.runtime.arrays import Floats, Ints
from bilayer.training.heads.kernels.shading import STRANDS
from bilayer.training.heads.look import Look
from bilayer.training.heads.model import HeadModel
from bilayer.training.heads.noise import image_noise, smooth, solid_noise
from bilayer.training.heads.parts import HEAD
from bilayer.training.heads.props import Prop, grid_triangles, make_prop
from bilayer.training.heads.skin import Painter, ear

MIN_LIFT = 0.03  # cm; triangles with a corner higher than this are the shell, and close it down to the scalp


@dataclass(frozen=True, eq=False)
class HairShell:
    """A hair shell: scalp vertices raised along their normals."""

    vertices: Ints  # (H,) of the model
    lift: Floats  # (H,) cm
    faces: Ints  # (F,) triangles of the model's surfaces
    triangles: Ints  # (F, 3) into `vertices`


def paint_hair(painter: Painter) -> Floats:
    """Return the albedo (n, 3) sRGB of hair all over the head, and lay roots on the painter's skin where hair grows."""
    p, style, rng = painter, painter.look.style, painter.rng
    turns = np.degrees(np.arctan2(p.x, p.z)) * rng.uniform(0.35, 0.9)
    wave = 1.0 if style.kind != "curly" else 3.0
    clumps = np.sin(turns + p.y * rng.uniform(-0.5, 0.5) + wave * p.patchy)
    streaks = image_noise(rng, p.atlas.nearest.shape, *((1.4, 1.4) if style.kind == "curly" else (0.6, 6.0)))
    strands = 0.12 * clumps + 0.16 * streaks.ravel()[p.atlas.texels]
    grey = 0.5 * p.look.age * rng.random() * smooth(0.3, 2.5, p.fine + clumps)
    hair = p.look.hair.astype(np.float32) * (1 + strands + 0.06 * p.patchy)[:, None]
    hair += grey[:, None] * (0.6 - hair)
    edge = p.y - style.line(p.atlas.azimuth, p.x) + 0.2 * p.fine + 0.25 * p.patchy
    grows = smooth(-0.45, 0.45, edge) * (1 - ear(p.atlas.position))
    if style.kind == "bald":
        grows = grows * np.float32(rng.uniform(0, 0.35))
    p.albedo += grows[:, None] * (hair - p.albedo)
    return np.asarray(np.clip(hair, 0.01, 1), dtype=np.float32)


def raise_shell(model: HeadModel, look: Look, rng: np.random.Generator) -> HairShell:
    """Grow a person's hair as a shell: scalp vertices and how far it stands off each, in cm; empty for the bald."""
    style, surfaces = look.style, model.surfaces
    x, y, z = model.vertices.T
    azimuth = np.degrees(np.arctan2(np.abs(x), z)).astype(np.float32)
    above = y - style.line(azimuth, x)
    rise = 1.0 if style.fringe else 2.6  # cm over which hair reaches its full height
    grows = smooth(-0.1, rise, above) * (model.part <= HEAD) * (1 - ear(model.vertices))
    bumps = solid_noise(rng, model.vertices, 2.5 if style.kind == "curly" else 7.0)
    crown = smooth(8, 14, y) * rng.uniform(0.1, 0.8)
    lift = np.clip(grows * style.volume * (0.65 + crown + 0.14 * bumps), 0, None).astype(np.float32)
    if style.kind == "bald":
        lift[:] = 0
    corners = surfaces.triangles[: surfaces.skin_count]
    faces = np.flatnonzero((lift[corners] > MIN_LIFT).any(axis=1)).astype(np.int32)
    vertices, triangles = np.unique(corners[faces], return_inverse=True)
    return HairShell(
        vertices=vertices.astype(np.int32),
        lift=lift[vertices],
        faces=faces,
        triangles=triangles.reshape(-1, 3).astype(np.int32),
    )


def long_hair(look: Look, rng: np.random.Generator) -> Prop:
    """Return a sheet around the back and sides of the head, from the crown down to the shoulders."""
    around, down, volume = 96, 30, look.style.volume
    edge = rng.uniform(56, 88)
    azimuth, height = np.radians(np.linspace(edge, 360 - edge, around)), np.linspace(10, rng.uniform(-18, -6), down)
    profile = (
        rng.uniform(8.5, 11.5),
        rng.uniform(8.8, 10.8),
        9.3 + 0.4 * volume,
        8.2 + 0.5 * volume,
        5.6 + 0.4 * volume,
    )
    radius = np.interp(height, (-17, -8, 0, 6, 10), profile)[:, None] * np.ones((1, around))
    radius = radius + 0.35 * image_noise(rng, (down, around), 3.0) + 0.08 * image_noise(rng, (1, around), 1.0)
    lower = smooth(2, -8, height)[:, None]
    azimuth = azimuth[None] + lower * 0.06 * image_noise(rng, (down, around), 4.0)
    points = np.stack(
        [radius * np.sin(azimuth), np.repeat(height[:, None], around, 1), radius * np.cos(azimuth) - 1.0], axis=-1
    )
    strands = cv2.GaussianBlur(rng.normal(size=(1, around)).astype(np.float32), (0, 0), 0.7)
    shine = 1 + 0.22 * np.repeat(strands / strands.std(), down, 0) + 0.04 * rng.normal(size=(down, around))
    colour = np.clip(np.multiply.outer(shine, look.hair), 0.01, 1) ** 2.2
    vertices = points.reshape(-1, 3).astype(np.float32)
    return make_prop(
        vertices,
        grid_triangles(down, around),
        colour.reshape(-1, 3).astype(np.float32),
        occlusion=0.2 + 0.6 * smooth(-22, 4, vertices[:, 1]),
        follow=smooth(-18, -4, vertices[:, 1]),
        kind=STRANDS,
    )
