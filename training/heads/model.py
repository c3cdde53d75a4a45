"""The morphable head: geometry, identity modes and expression shapes.

Positions are in centimetres in ICT-FaceKit's frame: x to the subject's left (right in a frontal picture), y up,
z out of the face; the tip of the nose is near (0, 0, 13), the chin near y = -7.5, the crown near y = 14.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Bytes, Floats, Ints

if TYPE_CHECKING:
    from bilayer.training.heads.atlas import SkinAtlas
    from bilayer.training.heads.surfaces import Surfaces


@dataclass(frozen=True, eq=False)
class HeadModel:
    """A head in neutral and the linear shapes that vary it."""

    name: str
    vertices: Floats  # (V, 3) cm, neutral
    triangles: Ints  # (T, 3) vertices, counter-clockwise seen from outside
    uv: Floats  # (C, 2); tile 0 <= u < 1 the face, 1 <= u < 2 the head and neck; v up
    uv_triangles: Ints  # (T, 3) into uv
    part: Bytes  # (V,) FACE ... IRIS_RIGHT
    landmarks: NDArray[np.int64]  # (68,) vertices, iBUG order
    identity_modes: Floats  # (K, V, 3) cm per standard deviation, in falling order of variance
    expression_shapes: Floats  # (E, V, 3) cm at full weight
    expression_names: tuple[str, ...]  # E names as in ARKit, with _L and _R for the subject's left and right
    ambient_occlusion: Floats  # (V,) 0 (enclosed) .. 1 (open)

    @cached_property
    def atlas(self) -> "SkinAtlas":
        """The map from texels of the skin to places on the neutral head, made when it is first used."""
        from bilayer.training.heads.atlas import build_atlas

        return build_atlas(self.vertices, self.triangles, self.uv, self.uv_triangles, self.part, self.landmarks)

    @cached_property
    def surfaces(self) -> "Surfaces":
        """The triangles in drawing order; made at first use."""
        from bilayer.training.heads.surfaces import sort_surfaces

        return sort_surfaces(self.triangles, self.uv, self.uv_triangles, self.part)

    def expression_index(self, name: str) -> int:
        """Return the row of `expression_shapes` that has that name, or raise a KeyError where there is none."""
        if name not in self.expression_names:
            raise KeyError(name)
        return self.expression_names.index(name)
