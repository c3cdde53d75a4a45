"""One mesh of all that is drawn of a person: the head, the hair shell over it, long hair and the body."""

from dataclasses import dataclass

import numpy as np

from bilayer.runtime.arrays import Bytes, Floats, Ints
from bilayer.training.heads.atlas import TILE
from bilayer.training.heads.hair import HairShell
from bilayer.training.heads.kernels.shading import HAIR
from bilayer.training.heads.model import HeadModel
from bilayer.training.heads.noise import smooth
from bilayer.training.heads.props import Prop
from bilayer.training.heads.surfaces import inner_colours, inner_occlusion

HIDDEN_BELOW = 0.25  # cm; skin under a hair shell this thick is not drawn
NECK = (-17.0, -8.0)  # cm; the head's turn fades out between these heights


@dataclass(frozen=True, eq=False)
class SceneMesh:
    """The part of a person's scene that is the same in every frame: triangles, texture coordinates, colours.

    Vertices: the head's V, then the hair shell's H, then the props' P; M = V + H + P.
    Triangles in drawing order: closed surfaces (skin, hair), sheets seen from both sides, then eyes and mouth.
    """

    triangles: Ints  # (T, 3) into the M vertices
    closed: int  # triangles 0..closed are the closed surfaces
    sheets: int  # triangles closed..sheets are the sheets
    corner_uv: Floats  # (T, 3, 2) texels; zeros where a kind has no texture
    kinds: Bytes  # (T,) of `kernels`
    colours: Floats  # (M, 3) linear RGB, for kinds without texture
    occlusion: Floats  # (M,)
    rest: Floats  # (M, 3) cm on the neutral generic head: where the canonical coordinate is read
    follow: Floats  # (M,) how far a vertex turns with the head, 0..1
    prop_vertices: Floats  # (P, 3) cm
    prop_normals: Floats  # (P, 3)


def assemble(model: HeadModel, shell: HairShell, props: list[Prop], tooth_shade: float) -> SceneMesh:
    """Put the pieces together; `tooth_shade` 0..1 from yellowed to white."""
    head, count = model.surfaces, len(model.vertices)
    skin, inner = head.triangles[: head.skin_count], head.triangles[head.skin_count :]
    lift = np.zeros(count, np.float32)
    lift[shell.vertices] = shell.lift
    shown = np.flatnonzero((lift[skin] < HIDDEN_BELOW).any(axis=1))
    closed = len(shown) + len(shell.faces)
    starts = np.cumsum([count + len(shell.vertices), *(len(prop.vertices) for prop in props)])
    sheets = [prop.triangles + start for prop, start in zip(props, starts, strict=False)]
    triangles = np.concatenate([skin[shown], shell.triangles + count, *sheets, inner])
    kinds = [head.kinds[shown], np.full(len(shell.faces), HAIR), *(np.full(len(p.triangles), p.kind) for p in props)]
    corner_uv = np.zeros((len(triangles), 3, 2), np.float32)
    corner_uv[:closed] = head.corner_uv[np.concatenate([shown, shell.faces])]
    corner_uv[len(shown) : closed, :, 0] += 2 * TILE  # the atlas's hair

    def per_vertex(of_head: Floats, of_props: list[Floats]) -> Floats:
        return np.ascontiguousarray(np.concatenate([of_head, of_head[shell.vertices], *of_props]), dtype=np.float32)

    return SceneMesh(
        triangles=np.ascontiguousarray(triangles, dtype=np.int32),
        closed=closed,
        sheets=len(triangles) - len(inner),
        corner_uv=corner_uv,
        kinds=np.concatenate([*kinds, head.kinds[head.skin_count :]]).astype(np.uint8),
        colours=per_vertex(inner_colours(model.part, tooth_shade), [prop.colours for prop in props]),
        occlusion=per_vertex(
            inner_occlusion(model.vertices, model.part, model.ambient_occlusion), [prop.occlusion for prop in props]
        ),
        rest=per_vertex(model.vertices, [prop.vertices for prop in props]),
        follow=per_vertex(smooth(*NECK, model.vertices[:, 1]), [prop.follow for prop in props]),
        prop_vertices=np.concatenate([prop.vertices for prop in props]),
        prop_normals=np.concatenate([prop.normals for prop in props]),
    )
