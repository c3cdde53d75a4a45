"""One person in one scene: everything that stays the same from frame to frame."""

from dataclasses import dataclass

import numpy as np

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.training.heads.atlas import SkinAtlas
from bilayer.training.heads.clothes import body, paint_clothes
from bilayer.training.heads.hair import HairShell, long_hair, paint_hair, raise_shell
from bilayer.training.heads.kernels.geometry import blend_shapes, vertex_normals
from bilayer.training.heads.look import Look, sample_look
from bilayer.training.heads.model import HeadModel
from bilayer.training.heads.parts import EYES_BY_SIDE, SCLERA_LEFT
from bilayer.training.heads.scene import Camera, Light, frame_landmarks, sample_background, sample_light, sample_tone
from bilayer.training.heads.scene_mesh import SceneMesh, assemble
from bilayer.training.heads.skin import paint_skin

SHAPE_MODES = 50  # the rest of ICT-FaceKit's 100 moves the skin by less than half a millimetre
SHAPE_SPREAD, SHAPE_LIMIT = 0.9, 2.2  # standard deviations
LID_OVERLAP = 0.06  # cm; with the lids' landmarks this far past each other nothing of the eye shows
BLINK_GAINS = (0.7, 1.8)
EYE_DEPTH = 0.08  # cm that eyes are set back, so that the cornea does not pierce a shut lid


@dataclass(frozen=True, eq=False)
class Identity:
    """A person, dressed and lit, in front of a camera."""

    seed: int
    look: Look
    vertices: Floats  # (V, 3) cm, this person's neutral head
    shell: HairShell
    shell_normals: Floats  # (H, 3)
    mesh: SceneMesh
    texture: Floats  # (TILE, 4 * TILE, 3) linear RGB
    eyes: Floats  # (5, 3): poles left and right; pupil and iris radius (cm) and gloss; iris and sclera colours
    blink_gain: tuple[float, float]  # factor to the weights of eyeBlink_L and eyeBlink_R at which these lids just meet
    light: Light
    background: Floats  # (BACKGROUND_SIZE, BACKGROUND_SIZE, 3) linear RGB before exposure
    camera: Camera
    tone: Bytes  # (TONE_STEPS,)


def sample_identity(model: HeadModel, seed: int) -> Identity:
    """Return a person and scene; the same for the same seed (0 or more) and model.

    Each aspect draws from its own stream, so that a change to one leaves the others as they were.
    """
    streams = np.random.SeedSequence(seed).spawn(8)
    shape, looks, paint, hair, dress, lamps, place, lens = (np.random.default_rng(stream) for stream in streams)
    look = sample_look(looks)
    vertices = _sample_shape(model, shape)
    shell = raise_shell(model, look, hair)
    props = [body(look, dress)]
    if look.style.kind == "long":
        props.append(long_hair(look, hair))
    light = sample_light(lamps, look)
    return Identity(
        seed=seed,
        look=look,
        vertices=vertices,
        shell=shell,
        shell_normals=_shell_normals(model, vertices, shell),
        mesh=assemble(model, shell, props, tooth_shade=looks.random()),
        texture=_paint(model.atlas, look, paint, dress),
        eyes=_sample_eyes(model, look, looks),
        blink_gain=_blink_gain(model, vertices),
        light=light,
        background=(sample_background(place) ** 2.2 / light.exposure).astype(np.float32),
        camera=frame_landmarks(vertices[model.landmarks], lens),
        tone=sample_tone(lens),
    )


def _sample_shape(model: HeadModel, rng: np.random.Generator) -> Floats:
    modes = model.identity_modes[:SHAPE_MODES]
    weights = np.clip(rng.normal(size=len(modes)) * SHAPE_SPREAD, -SHAPE_LIMIT, SHAPE_LIMIT).astype(np.float32)
    vertices = np.empty_like(model.vertices)
    blend_shapes(model.vertices, modes, np.arange(len(modes)), weights, vertices)
    vertices[model.part >= SCLERA_LEFT, 2] -= EYE_DEPTH
    return vertices


def _blink_gain(model: HeadModel, vertices: Floats) -> tuple[float, float]:
    """The blink shapes close the generic eye; wide eyes need more of them, narrow ones less."""
    gains = []
    for name, upper, lower in (("eyeBlink_L", [43, 44], [47, 46]), ("eyeBlink_R", [37, 38], [41, 40])):
        shape = model.expression_shapes[model.expression_index(name), model.landmarks, 1]
        height = vertices[model.landmarks, 1]
        opening = (height[upper] - height[lower]).mean() + LID_OVERLAP
        closing = (shape[lower] - shape[upper]).mean()
        gains.append(float(np.clip(opening / max(closing, 1e-3), *BLINK_GAINS)))
    return gains[0], gains[1]


def _shell_normals(model: HeadModel, vertices: Floats, shell: HairShell) -> Floats:
    """Normals of the raised neutral shell; expressions hardly move the scalp."""
    normals = np.empty_like(vertices)
    vertex_normals(vertices, model.surfaces.triangles, normals)
    scalp = normals[shell.vertices]
    raised = np.empty_like(scalp)
    vertex_normals(vertices[shell.vertices] + shell.lift[:, None] * scalp, shell.triangles, raised)
    return raised


def _paint(atlas: SkinAtlas, look: Look, paint: np.random.Generator, dress: np.random.Generator) -> Floats:
    painter = paint_skin(atlas, look, paint)
    hair = paint_hair(painter)
    paint_clothes(painter, dress)
    layers = [atlas.spread(np.clip(layer, 0.005, 1) ** np.float32(2.2)) for layer in (painter.albedo, hair)]
    return np.ascontiguousarray(np.concatenate(layers, axis=1), dtype=np.float32)


def _sample_eyes(model: HeadModel, look: Look, rng: np.random.Generator) -> Floats:
    poles = []
    for sclera in EYES_BY_SIDE:
        ball = model.vertices[model.part == sclera]
        pole = ball[np.argmax(ball[:, 2])]
        poles.append((pole[0], pole[1], pole[2] - 1.0))  # the iris lies within 1 cm of the pole in depth
    sizes = (rng.uniform(0.15, 0.25), rng.uniform(0.56, 0.64), rng.uniform(0.3, 1.5))
    white = np.array([0.76, 0.72, 0.70]) * rng.uniform(0.85, 1.0)
    return np.array([*poles, sizes, tuple(look.iris**2.2), tuple(white**2.2)], np.float32)
