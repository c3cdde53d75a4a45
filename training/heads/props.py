"""Meshes beside the morphable head: long hair and the body."""

from dataclasses import dataclass

import numpy as np

from bilayer.runtime.arrays import Floats, Ints
from bilayer.training.heads.kernels.geometry import vertex_normals


@dataclass(frozen=True, eq=False)
class Prop:
    """A mesh beside the head that expressions do not deform, such as clothes."""

    vertices: Floats  # (P, 3) cm
    normals: Floats  # (P, 3)
    triangles: Ints  # (F, 3)
    colours: Floats  # (P, 3) linear RGB
    occlusion: Floats  # (P,)
    follow: Floats  # (P,) how far it turns with the head, 0..1
    kind: int  # of `kernels`: how it is shaded


def make_prop(vertices: Floats, triangles: Ints, colours: Floats, occlusion: Floats, follow: Floats, kind: int) -> Prop:
    """Return a Prop with the normals of its mesh."""
    normals = np.empty_like(vertices)
    vertex_normals(vertices, triangles, normals)
    return Prop(vertices, normals, triangles, colours, occlusion, follow, kind)


def grid_triangles(rows: int, columns: int) -> Ints:
    """Return two triangles for each cell of a grid of vertices in row-major order: (2 * (rows-1) * (columns-1), 3)."""
    number = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    upper = np.stack([number[:-1, :-1], number[1:, :-1], number[1:, 1:]], axis=-1)
    lower = np.stack([number[:-1, :-1], number[1:, 1:], number[:-1, 1:]], axis=-1)
    return np.concatenate([upper.reshape(-1, 3), lower.reshape(-1, 3)])
