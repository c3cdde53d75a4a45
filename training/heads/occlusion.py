"""Ambient occlusion of a head: how much of the sky each vertex sees, by depth maps from many directions."""

import numpy as np

from bilayer.runtime.arrays import Floats, Ints
from bilayer.training.heads.kernels.geometry import vertex_normals
from bilayer.training.heads.kernels.raster import rasterise

DIRECTIONS = 96
MAP_SIZE = 160  # px
BIAS = 0.02  # of the head's depth: a vertex this close behind the nearest surface is on it


def ambient_occlusion(vertices: Floats, triangles: Ints) -> Floats:
    """Return the share (V,) of the hemisphere above each vertex that the head itself does not hide, 0..1."""
    normals = np.empty_like(vertices)
    vertex_normals(vertices, triangles, normals)
    open_sky, whole_sky = np.zeros(len(vertices)), np.zeros(len(vertices))
    directions = np.random.default_rng(0).normal(size=(DIRECTIONS, 3))
    for direction in directions / np.linalg.norm(directions, axis=1, keepdims=True):
        across = np.cross(direction, (0.3, 1.0, 0.2))
        across /= np.linalg.norm(across)
        axes = np.stack([across, np.cross(direction, across), direction], axis=1)
        seen = (vertices[:, :, None] * axes[None]).sum(axis=1)  # (V, 3) right, down, towards the viewer
        low, extent = seen.min(axis=0), np.ptp(seen, axis=0)
        screen = np.empty_like(vertices)
        screen[:, :2] = (seen[:, :2] - low[:2]) * ((MAP_SIZE - 4) / extent[:2].max()) + 2
        screen[:, 2] = 1 + (seen[:, 2] - low[2]) / extent[2]
        depth, owner = np.zeros((MAP_SIZE, MAP_SIZE), np.float32), np.full((MAP_SIZE, MAP_SIZE), -1, np.int32)
        rasterise(screen, triangles, 0, len(triangles), False, 0, 0, MAP_SIZE, MAP_SIZE, depth, owner)
        columns, rows = screen[:, 0].astype(int), screen[:, 1].astype(int)
        weight = np.maximum((normals * direction.astype(np.float32)).sum(axis=1), 0)
        open_sky += weight * (screen[:, 2] >= depth[rows, columns] - BIAS)
        whole_sky += weight
    share = np.clip(open_sky / np.maximum(whole_sky, 1e-6), 0, 1)
    return np.asarray(share**0.8, dtype=np.float32)  # light that bounces fills the folds a little
