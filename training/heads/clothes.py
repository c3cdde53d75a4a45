"""Clothes: painted on the neck and shoulders of the head's skin, and a body below."""

import numpy as np

from bilayer.runtime.arrays import Floats
from bilayer.training.heads.kernels.shading import CLOTH
from bilayer.training.heads.look import Look, sample_cloth_colour
from bilayer.training.heads.noise import pick, smooth
from bilayer.training.heads.props import Prop, grid_triangles, make_prop
from bilayer.training.heads.skin import Painter


def paint_clothes(painter: Painter, rng: np.random.Generator) -> None:
    """Paint a collar, round or with a V, plain or patterned, over the painter's skin."""
    p, colour, second = painter, painter.look.cloth, sample_cloth_colour(rng)
    collar = rng.uniform(-14.0, -11.0) if rng.random() < 0.85 else rng.uniform(-10.6, -9.6)
    point = rng.uniform(0.1, 0.55) if rng.random() < 0.5 else 0.0
    line = collar - np.where(p.z > 0, 1.2 * point, 0) * np.maximum(0, 6 - p.side) - 0.1 * np.maximum(0, 6 - p.side)
    amount = smooth(0.12, -0.12, p.y - line) * (p.y < -9)
    pattern = pick(rng, (0.5, "plain"), (0.12, "stripes"), (0.13, "bands"), (0.25, "hem"))
    if pattern == "stripes":
        mixed = np.sin(p.x * rng.uniform(1, 4)) > 0
    elif pattern == "bands":
        mixed = np.sin(p.y * rng.uniform(1.5, 5)) > 0
    elif pattern == "hem":
        mixed = np.abs(p.y - line) < rng.uniform(0.4, 1.2)
    else:
        mixed = np.zeros(len(p.y), np.bool_)
    folds = 1 + 0.05 * p.patchy + 0.03 * p.fine
    cloth = np.where(mixed[:, None], second, colour) * folds[:, None]
    p.albedo += (amount[:, None] * (cloth - p.albedo)).astype(np.float32)


def body(look: Look, rng: np.random.Generator) -> Prop:
    """Return shoulders and chest: half of a flattened ball, in the clothes' colour."""
    around, down = 48, 24
    width, height, depth = rng.uniform(19, 25), rng.uniform(9, 12), rng.uniform(8, 11)
    angle, fall = np.meshgrid(np.linspace(0, 2 * np.pi, around), np.linspace(0, 0.8 * np.pi, down))
    top = -rng.uniform(14.6, 16.6)
    points = np.stack(
        [
            width * np.cos(angle) * np.sin(fall) ** 0.9,
            top - height + height * np.cos(fall),
            -2 + depth * np.sin(angle) * np.sin(fall),
        ],
        axis=-1,
    )
    vertices = points.reshape(-1, 3).astype(np.float32)
    colour = np.multiply.outer(1 + 0.05 * np.sin(vertices[:, 0] * rng.uniform(0.3, 1.2)), look.cloth)
    if rng.random() < 0.3:  # an open jacket over the shirt
        open_front = np.abs(vertices[:, 0]) < (-vertices[:, 1] - 13) * rng.uniform(0.3, 0.7) + 1
        colour = np.where(open_front[:, None], colour, sample_cloth_colour(rng))
    linear: Floats = (np.clip(colour, 0.01, 1) ** 2.2).astype(np.float32)
    count = len(vertices)
    return make_prop(
        vertices,
        grid_triangles(down, around),
        linear,
        occlusion=np.full(count, 0.8, np.float32),
        follow=np.zeros(count, np.float32),
        kind=CLOTH,
    )
