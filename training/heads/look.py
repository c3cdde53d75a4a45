"""A person's colours and features, sampled together so that they go together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Floats
from bilayer.training.heads.noise import pick, smooth

Colour = NDArray[np.float64]  # (3,) sRGB, 0..1

# From light to dark; a person's skin lies between two neighbours.
SKIN_TONES = np.array(
    [
        (0.96, 0.82, 0.76), (0.93, 0.76, 0.68), (0.89, 0.71, 0.59), (0.82, 0.62, 0.48),
        (0.71, 0.51, 0.39), (0.58, 0.40, 0.30), (0.45, 0.30, 0.22), (0.34, 0.225, 0.17),
    ]
)  # fmt: skip
HAIR_COLOURS = np.array(
    [
        (0.05, 0.04, 0.04), (0.11, 0.08, 0.06), (0.20, 0.13, 0.09), (0.33, 0.22, 0.14),
        (0.50, 0.36, 0.22), (0.70, 0.55, 0.36), (0.44, 0.24, 0.15), (0.46, 0.44, 0.43), (0.68, 0.66, 0.63),
    ]
)  # fmt: skip
GREY_HAIR = 7  # from here on
IRIS_COLOURS = np.array(
    [
        (0.28, 0.17, 0.09), (0.20, 0.12, 0.07), (0.35, 0.45, 0.55), (0.33, 0.42, 0.30),
        (0.42, 0.46, 0.48), (0.42, 0.31, 0.16),
    ]
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Hairstyle:
    """A hairstyle: the hairline, as heights over the azimuth, and how the hair stands."""

    kind: str  # "bald", "short", "medium", "curly" or "long"
    front: float  # cm, height of the hairline over the middle of the forehead
    peak: float  # cm, how much the hairline rises beside the middle
    side: float  # cm, height in front of the ears
    nape: float  # cm, lowest hair at the back
    slant: float  # cm per cm to the side: a parted fringe
    volume: float  # cm that hair stands off the head
    fringe: bool  # hair falls over the forehead

    def line(self, azimuth: Floats, x: Floats) -> Floats:
        """Return the height (n,) above which hair grows, at azimuths (n,) of 0..180 degrees."""
        heights = (
            self.front, self.front - 0.1 + self.peak, self.front - 1.8, self.side,
            self.side - 1.2, self.nape + 4, self.nape, self.nape - 0.8,
        )  # fmt: skip
        line = np.interp(azimuth, (0, 30, 55, 70, 88, 100, 125, 180), heights)
        return np.asarray(line + self.slant * x * smooth(75, 40, azimuth), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Look:
    """A person's colours, age and hair, from which skin, eyes and hair are painted."""

    skin: Colour
    darkness: float  # 0 the lightest skin .. 1 the darkest
    age: float  # 0..1: lines and uneven skin
    hair: Colour
    style: Hairstyle
    beard: float  # 0 none .. 1 dense
    goatee: bool  # the beard keeps to the chin and the upper lip
    make_up: bool
    iris: Colour
    cloth: Colour


def sample_look(rng: np.random.Generator) -> Look:
    """Draw a person's look at random; equal generators give equal people."""
    tone = rng.uniform(0, len(SKIN_TONES) - 1.001)
    share = tone - int(tone)
    skin = SKIN_TONES[int(tone)] * (1 - share) + SKIN_TONES[int(tone) + 1] * share
    skin = skin * (1 + rng.normal(size=3) * (0.015, 0.02, 0.03))
    darkness, age = tone / (len(SKIN_TONES) - 1), float(rng.beta(1.2, 1.6))
    if rng.random() < 0.25 * age + 0.03:
        hair = int(rng.integers(GREY_HAIR, len(HAIR_COLOURS)))
    else:
        hair = int(rng.integers(GREY_HAIR) if rng.random() > 0.25 + 0.8 * darkness else rng.integers(3))
    make_up, masculine = bool(rng.random() < 0.35), rng.random() < 0.55
    brown_eyes = rng.random() < 0.35 + 0.8 * darkness
    return Look(
        skin=np.clip(skin, 0.05, 0.98),
        darkness=darkness,
        age=age,
        hair=np.clip(HAIR_COLOURS[hair] * (1 + 0.15 * rng.normal()) * (1 + 0.05 * rng.normal(size=3)), 0.02, 0.95),
        style=_sample_style(rng, age),
        beard=float(rng.uniform(0.1, 0.95)) if masculine and not make_up and rng.random() < 0.8 else 0.0,
        goatee=bool(rng.random() < 0.3),
        make_up=make_up,
        iris=IRIS_COLOURS[rng.integers(2) if brown_eyes else rng.integers(len(IRIS_COLOURS))] * rng.uniform(0.75, 1.2),
        cloth=sample_cloth_colour(rng),
    )


def _sample_style(rng: np.random.Generator, age: float) -> Hairstyle:
    kind = pick(rng, (0.07, "bald"), (0.28, "short"), (0.20, "medium"), (0.12, "curly"), (0.33, "long"))
    volume = {"bald": (0, 0.001), "short": (0.2, 0.7), "medium": (0.6, 1.8), "curly": (1.0, 3.4), "long": (0.5, 1.6)}
    fringe = bool(kind in ("medium", "long") and rng.random() < 0.4)
    return Hairstyle(
        kind=kind,
        front=float(rng.uniform(6.9, 8.3) if fringe else rng.uniform(8.7, 10.4) + 0.8 * age * rng.random()),
        peak=float(rng.uniform(-0.3, 0.3) if fringe else rng.uniform(-0.3, 0.9)),
        side=float(rng.uniform(1.8, 4.8)),
        nape=float(rng.uniform(-8, -3)),
        slant=float(rng.normal() * (0.16 if fringe else 0.05)),
        volume=float(rng.uniform(*volume[kind])),
        fringe=fringe,
    )


def sample_cloth_colour(rng: np.random.Generator) -> Colour:
    """Draw a colour for clothes at random: mostly muted, now and then strong."""
    grey = rng.uniform(0.05, 0.85)
    strength = rng.beta(1.0, 2.2)
    return np.asarray(np.clip(grey + strength * rng.uniform(-0.5, 0.5, 3), 0.03, 0.95))
