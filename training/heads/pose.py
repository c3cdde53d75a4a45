"""Head poses: how a person's head stands and what the face does in one frame."""

from dataclasses import dataclass, replace

import numpy as np

from bilayer.runtime.arrays import Floats
from bilayer.training.heads.model import HeadModel

MAX_YAW, MAX_PITCH, MAX_ROLL = 42.0, 20.0, 18.0  # degrees, of sampled poses


@dataclass(frozen=True, eq=False)
class HeadPose:
    """A head's pose and expression in one frame."""

    weights: Floats  # (E,) of the model's expression shapes, 0..1.1
    yaw: float = 0.0  # degrees; positive turns the face to the picture's right
    pitch: float = 0.0  # degrees; positive looks up
    roll: float = 0.0  # degrees; positive tilts the crown to the picture's left
    translation: tuple[float, float] = (0.0, 0.0)  # cm, right and up
    scale: float = 1.0  # of the picture about the face's middle


def neutral_pose(model: HeadModel) -> HeadPose:
    """Return the pose of a head that looks straight ahead without expression."""
    return HeadPose(np.zeros(len(model.expression_names), np.float32))


class _Face:
    """Expression weights set by name; names that a model lacks (the ellipsoid's are few) are passed over."""

    def __init__(self, model: HeadModel, rng: np.random.Generator) -> None:
        self.rows = {name: row for row, name in enumerate(model.expression_names)}
        self.weights = np.zeros(len(self.rows), np.float32)
        self.rng = rng

    def one(self, name: str, weight: float) -> None:
        if name in self.rows:
            self.weights[self.rows[name]] = np.clip(weight, 0, 1.1)

    def both(self, name: str, weight: float, jitter: float = 0.15) -> None:
        """The left and right shape, each a little off."""
        for side in ("_L", "_R"):
            self.one(name + side, weight * (1 + jitter * self.rng.standard_normal()))


def sample_pose(model: HeadModel, rng_seed: int, strong: bool = False) -> HeadPose:
    """Return a pose and expression of a lively talker, the same for the same seed (0 or more) and model.

    With `strong`, lids are shut and mouths wide open more often: what a texture that was fitted to one photo lacks.
    """
    rng = np.random.default_rng(rng_seed)
    face = _Face(model, rng)
    _sample_mouth(face, rng)
    _sample_brows(face, rng)
    _sample_eyes(face, rng)
    if strong:
        _exaggerate(face, np.random.default_rng([rng_seed, 1]))
    return HeadPose(
        weights=face.weights,
        yaw=float(np.clip(rng.normal() * 17, -MAX_YAW, MAX_YAW)),
        pitch=float(np.clip(rng.normal() * 8, -MAX_PITCH, MAX_PITCH)),
        roll=float(np.clip(rng.normal() * 6, -MAX_ROLL, MAX_ROLL)),
        translation=(float(rng.normal() * 0.8), float(rng.normal() * 0.6)),
        scale=float(1 + 0.03 * rng.normal()),
    )


def sample_pair(model: HeadModel, rng_seed: int) -> tuple[HeadPose, HeadPose]:
    """Return two poses that differ in nothing but lids and mouth: open eyes and a mouth that is nearly shut in the
    first; shut eyes, a mouth wide open, or both in the second. What differs between their pictures, that did."""
    pose = sample_pose(model, rng_seed)
    rng = np.random.default_rng([rng_seed, 2])
    first, second = _Face(model, rng), _Face(model, rng)
    first.weights, second.weights = pose.weights.copy(), pose.weights.copy()
    first.both("eyeBlink", rng.uniform(0, 0.1), jitter=0.02)
    first.one("jawOpen", rng.uniform(0, 0.15))
    kind = rng.random()
    shuts, opens = kind < 2 / 3, kind > 1 / 3
    for face in (first, second):
        face.both("eyeWide", 0)
        face.both("eyeSquint", 0)
    second.both("eyeBlink", rng.uniform(0.85, 1) if shuts else rng.uniform(0, 0.1), jitter=0.02)
    second.one("jawOpen", rng.uniform(0.3, 1) if opens else rng.uniform(0, 0.15))
    return replace(pose, weights=first.weights), replace(pose, weights=second.weights)


def _sample_mouth(face: _Face, rng: np.random.Generator) -> None:
    if rng.random() < 0.65:
        face.one("jawOpen", 0.95 * rng.beta(1.2, 2.2))
    kind = rng.random()
    if kind < 0.34:
        face.both("mouthSmile", rng.uniform(0.2, 1))
        face.both("cheekSquint", rng.uniform(0, 0.5))
        face.both("mouthDimple", rng.uniform(0, 0.3))
    elif kind < 0.45:
        face.both("mouthFrown", rng.uniform(0.2, 0.9))
    elif kind < 0.60:
        face.one("mouthPucker", rng.uniform(0.2, 0.95))
    elif kind < 0.72:
        face.one("mouthFunnel", rng.uniform(0.2, 0.9))
    elif kind < 0.80:
        face.both("mouthStretch", rng.uniform(0.2, 0.8))
    elif kind < 0.85:
        face.both("mouthPress", rng.uniform(0.2, 0.8))
        face.one("mouthRollLower", rng.uniform(0, 0.6))
    if rng.random() < 0.25:
        face.both("mouthUpperUp", rng.uniform(0.1, 0.6))
    if rng.random() < 0.25:
        face.both("mouthLowerDown", rng.uniform(0.1, 0.6))
    if rng.random() < 0.15:
        face.one(rng.choice(("mouthLeft", "mouthRight")), rng.uniform(0.2, 0.8))
    if rng.random() < 0.15:
        face.one(rng.choice(("jawLeft", "jawRight")), rng.uniform(0.2, 0.8))
    if rng.random() < 0.08:
        face.both("cheekPuff", rng.uniform(0.2, 0.8))


def _exaggerate(face: _Face, rng: np.random.Generator) -> None:
    if rng.random() < 0.25:
        face.both("eyeBlink", rng.uniform(0.9, 1.0), jitter=0.02)
    if rng.random() < 0.25:
        face.one("jawOpen", rng.uniform(0.4, 1.0))


def _sample_brows(face: _Face, rng: np.random.Generator) -> None:
    kind = rng.random()
    if kind < 0.3:
        face.both("browInnerUp", rng.uniform(0.2, 1))
        face.both("browOuterUp", rng.uniform(0, 1))
    elif kind < 0.55:
        face.both("browDown", rng.uniform(0.2, 1))
        face.both("noseSneer", rng.uniform(0, 0.35))
    elif kind < 0.62:
        face.one(rng.choice(("browOuterUp_L", "browOuterUp_R")), rng.uniform(0.3, 1))


def _sample_eyes(face: _Face, rng: np.random.Generator) -> None:
    kind = rng.random()
    if kind < 0.09:  # shut
        face.both("eyeBlink", rng.uniform(0.92, 1.0), jitter=0.02)
    elif kind < 0.16:  # on the way
        face.both("eyeBlink", rng.uniform(0.35, 0.92), jitter=0.03)
    elif kind < 0.19:  # a wink
        face.one(rng.choice(("eyeBlink_L", "eyeBlink_R")), rng.uniform(0.8, 1.0))
    elif kind < 0.42:
        face.both("eyeSquint", rng.uniform(0.2, 0.9))
    elif kind < 0.56:
        face.both("eyeWide", rng.uniform(0.2, 0.9))
    else:
        face.both("eyeBlink", rng.uniform(0, 0.2), jitter=0.03)
    right, up = rng.normal() * 0.35, rng.normal() * 0.25
    outward, inward = ("_L", "_R") if right > 0 else ("_R", "_L")
    face.one("eyeLookOut" + outward, abs(right))
    face.one("eyeLookIn" + inward, abs(right))
    for side in ("_L", "_R"):
        face.one(("eyeLookUp" if up > 0 else "eyeLookDown") + side, abs(up))
