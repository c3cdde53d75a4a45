"""What surrounds a head: light, background, the camera and its tone curve."""

from dataclasses import dataclass

import cv2
import numpy as np

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.training.heads.look import Look
from bilayer.training.heads.noise import image_noise, pick

BACKGROUND_SIZE = 256  # px; resized to the picture's
TONE_STEPS = 4096
JITTER_ZOOM, JITTER_CENTRE = (0.88, 1.12), 0.04  # of the product's crop; the centre in shares of the frame


@dataclass(frozen=True, eq=False)
class Light:
    """The light of a scene: two distant lights and the sky."""

    directions: Floats  # (2, 3) unit vectors towards the lights
    colours: Floats  # (2, 3) linear RGB
    ambient: Floats  # (3,) linear RGB from above
    exposure: float  # factor from radiance to 0..1


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole in front of the face, looking along -z; frame coordinates run 0..1 right and down."""

    eye: Floats  # (3,) cm
    focal: float  # frame widths per unit of x / depth
    middle: tuple[float, float]  # x / depth and y / depth (down) of the neutral landmarks' middle
    centre: tuple[float, float]  # where that middle lies in the frame


def sample_light(rng: np.random.Generator, look: Look) -> Light:
    """Return soft and frontal, from a side, or with the sun behind; exposed as a camera would."""
    kind = pick(rng, (0.45, "soft"), (0.40, "side"), (0.15, "hard"))
    reach, ambient, key = {"soft": (35, 0.65, 0.5), "side": (65, 0.42, 0.85), "hard": (80, 0.28, 1.1)}[kind]
    azimuth, height = np.radians(rng.uniform(-reach, reach)), np.radians(rng.uniform(0, 55))
    fill = azimuth + rng.choice((-1, 1)) * np.radians(rng.uniform(60, 150))
    directions = np.array(
        [
            (np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)),
            (np.sin(fill), rng.uniform(0, 0.5), np.cos(fill)),
        ]
    )
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    warm = rng.normal() * 0.06
    white = np.array([1 + warm, 1.0, 1 - warm])
    colours = np.array(
        [
            white * key * rng.uniform(0.8, 1.2),
            (1 + rng.normal(size=3) * 0.06) * key * rng.uniform(0.05, 0.5),
        ]
    )
    sky = (1 - 0.5 * warm * np.array([1, 0, -1])) * ambient * rng.uniform(0.8, 1.2)
    reaches_face = 0.8 * sky[1] + (np.maximum(directions[:, 2] + 0.2, 0) / 1.2 * colours[:, 1]).sum()
    brightness = max((look.skin.mean() ** 2.2) ** 0.4, 0.42)  # a camera lifts dark skin, though not all the way
    return Light(
        directions=directions.astype(np.float32),
        colours=colours.astype(np.float32),
        ambient=sky.astype(np.float32),
        exposure=float(rng.uniform(0.58, 0.92) / (reaches_face * brightness)),
    )


def sample_tone(rng: np.random.Generator) -> Bytes:
    """Return a tone curve (TONE_STEPS,) from linear 0..1 to bytes: display gamma with some contrast."""
    display = np.linspace(0, 1, TONE_STEPS) ** (1 / 2.2)
    curve = display * display * (3 - 2 * display)
    share = rng.uniform(-0.05, 0.45)
    return np.asarray(np.clip((1 - share) * display + share * curve, 0, 1) * 255 + 0.5, dtype=np.uint8)


def sample_background(rng: np.random.Generator) -> Floats:
    """Return a wall, a blurred room or foliage: (BACKGROUND_SIZE, BACKGROUND_SIZE, 3) as displayed, 0..1."""
    size = BACKGROUND_SIZE
    grey, strength = rng.uniform(0.08, 0.92), rng.beta(1, 2.5)

    def colour() -> Floats:
        value = grey + rng.uniform(-0.35, 0.35) + strength * rng.uniform(-0.5, 0.5, 3)
        return np.asarray(np.clip(value, 0.02, 0.98), dtype=np.float32)

    ramp = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    share = np.clip(0.5 + (ramp[None] * np.cos(angle) + ramp[:, None] * np.sin(angle)) * rng.uniform(0, 1), 0, 1)
    picture = (colour() * (1 - share[..., None]) + colour() * share[..., None]).astype(np.float32)
    kind = pick(rng, (0.25, "wall"), (0.5, "room"), (0.25, "foliage"))
    if kind == "room":
        for _ in range(rng.integers(3, 14)):
            start = rng.integers(-40, size, 2)
            stop = start + rng.integers(10, 200, 2)
            tint = [float(c) for c in colour()]
            if rng.random() < 0.75:
                cv2.rectangle(picture, (int(start[0]), int(start[1])), (int(stop[0]), int(stop[1])), tint, -1)
            else:
                cv2.circle(picture, (int(start[0]), int(start[1])), int(rng.integers(5, 70)), tint, -1)
    elif kind == "foliage":
        for sigma in (24, 10, 4):
            amount = 0.12 * rng.uniform(0.3, 1)
            picture += amount * image_noise(rng, (size, size), sigma)[..., None] * (colour() + 0.3)
    picture = cv2.GaussianBlur(picture, (0, 0), float(np.exp(rng.uniform(np.log(0.8), np.log(10)))))
    picture += (0.015 * image_noise(rng, (size, size), 30))[..., None]
    return np.asarray(np.clip(picture, 0, 1), dtype=np.float32)


def frame_landmarks(landmarks: Floats, rng: np.random.Generator) -> Camera:
    """Return a camera that shows neutral landmarks (68, 3) cm as the product's crop does (`crop_box`), but jittered.

    The crop is twice as wide as the landmarks' larger extent, and its centre a sixth of that extent above theirs.
    """
    distance = float(np.exp(rng.uniform(np.log(45), np.log(130))))
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    eye = np.array([0, (low[1] + high[1]) / 2 + rng.normal() * 0.03 * distance, distance], np.float32)
    depth = eye[2] - landmarks[:, 2]
    across, down = landmarks[:, 0] / depth, (eye[1] - landmarks[:, 1]) / depth
    extent = float(max(np.ptp(across), np.ptp(down)))
    zoom, shift = rng.uniform(*JITTER_ZOOM), rng.uniform(-JITTER_CENTRE, JITTER_CENTRE, 2)
    return Camera(
        eye=eye,
        focal=float(zoom / (2 * extent)),
        middle=(float(across.min() + across.max()) / 2, float(down.min() + down.max()) / 2),
        centre=(float(0.5 + shift[0]), float(0.5 + zoom / 12 + shift[1])),
    )
