"""Two people of different proportions whose every motion is known: the oracle of the retargeting tests.

Each is 68 points in space, made of ellipses and lines from a few measures; a motion opens the mouth by a share of the
mouth's width, shuts the eyes by a share of their opening, turns the head and places it in the picture.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Identity:
    """Measures of a face in units of its own."""

    width: float  # between the ears
    chin: float  # from the eye line down to the chin
    eye_spacing: float  # between the eyes' centres
    eye_width: float
    eye_opening: float  # share of the eye's width
    nose: float  # from the eye line to its base
    mouth_width: float
    lips: float  # thickness of both
    depth: float  # of nose tip before and ears behind the eyes


NARROW = Identity(1.3, 1.15, 0.62, 0.26, 0.42, 0.5, 0.46, 0.16, 0.5)
BROAD = Identity(1.75, 0.95, 0.74, 0.34, 0.26, 0.38, 0.7, 0.1, 0.4)


def eye(person, side, shut):
    """Six points (6, 3) from the picture's left to its right, over the top."""
    angles = np.pi * np.array([1, 4 / 3, 5 / 3, 0, 1 / 3, 2 / 3])
    across = np.cos(angles) * person.eye_width / 2
    down = np.sin(angles) / np.sin(np.pi / 3) * person.eye_opening * person.eye_width / 2 * (1 - shut)
    return np.column_stack([side * person.eye_spacing / 2 + across, down, -0.3 * across * side])


def lips(person, count, width, thickness, gap):
    """A ring of points (count, 3): from the left corner over the top."""
    angles = np.pi + 2 * np.pi * np.arange(count) / count
    up_down = np.sin(angles)
    up_down = np.where(np.abs(up_down) < 1e-9, 0, np.sign(up_down))
    height = up_down * gap / 2 + np.sin(angles) * thickness / 2
    middle = person.nose + 0.38 * (person.chin - person.nose)
    return np.column_stack([np.cos(angles) * width / 2, middle + gap / 2 + height, 0.15 + 0 * angles])


def face(person, mouth=0.0, shut=0.0):
    """(68, 3): x right, y down, z to the camera, for a gap of `mouth` widths between the lips."""
    gap = mouth * person.mouth_width
    angle = np.pi * (1 - np.arange(17) / 16)
    depth = person.depth * (0.1 - 0.6 * np.abs(np.cos(angle)))
    jaw = np.column_stack([np.cos(angle) * person.width / 2, np.sin(angle) ** 0.8 * person.chin, depth])
    jaw[:, 1] += gap * np.sin(angle) ** 2
    span = np.linspace(-1, 1, 5)
    brow = np.column_stack([0.2 * person.eye_spacing * 1.6 * span, -0.26 + 0.05 * span**2, 0.1 + 0 * span])
    brows = [brow + np.array([side * person.eye_spacing / 2, 0, 0]) for side in (-1, 1)]
    ridge = np.column_stack([np.zeros(4), np.linspace(0, 0.8, 4) * person.nose, np.linspace(0.2, 1, 4) * person.depth])
    nostrils = np.column_stack([0.14 * person.eye_spacing * 2 * span, person.nose - 0.03 * span**2, 0.2 + 0 * span])
    inner = lips(person, 8, 0.8 * person.mouth_width, 0.0, gap)
    outer = lips(person, 12, person.mouth_width, 2 * person.lips, gap)
    eyes = [eye(person, side, shut) for side in (-1, 1)]
    return np.concatenate([jaw, *brows, ridge, nostrils, *eyes, outer, inner])


def seen(points, yaw=0.0, pitch=0.0, roll=0.0, size=100.0, at=(320.0, 240.0)):
    """(68, 2) pixels of points (68, 3) turned by degrees, looked at without perspective."""
    (sy, cy), (sp, cp), (sr, cr) = ((np.sin(a), np.cos(a)) for a in np.radians([yaw, pitch, roll]))
    turn_yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    turn_pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    turn_roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    turned = points @ (turn_roll @ turn_pitch @ turn_yaw).T
    return (turned[:, :2] * size + at).astype(np.float32)


def performance(person, frames=60, size=100.0, at=(320.0, 240.0)):
    """(T, 68, 2): a turn to both sides, a nod, a tilt, nearing the camera, two blinks and talk. At rest at frame 0."""
    phases = np.arange(frames) / frames
    track = []
    for phase in phases:
        wave = np.sin(2 * np.pi * phase)
        shut = max(0.0, np.sin(4 * np.pi * phase)) ** 4
        mouth = 0.35 * np.sin(6 * np.pi * phase) ** 2
        zoom = size * (1 + 0.15 * np.sin(np.pi * phase) ** 2)
        place = (at[0] + 0.3 * size * wave, at[1] + 0.1 * size * np.sin(2 * np.pi * phase * 2))
        pose = {"yaw": 22 * wave, "pitch": 9 * np.sin(4 * np.pi * phase), "roll": 12 * np.sin(2 * np.pi * phase) ** 3}
        track.append(seen(face(person, mouth, shut), **pose, size=zoom, at=place))
    return np.stack(track)


def unlikeness(first, second):
    """Procrustes residual between shapes (68, 2): 0 the same up to place, size and turn, 1 nothing in common."""
    units = []
    for points in (first, second):
        centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
        units.append(centred / np.linalg.norm(centred))
    left, strengths, right = np.linalg.svd(units[0].T @ units[1])
    strengths[-1] *= np.sign(np.linalg.det(left @ right))  # no mirror images
    return float(np.sqrt(max(0.0, 1 - strengths.sum() ** 2)))


def mouth_opening(points):
    """Gap between the inner lips in mouth widths."""
    return float(np.linalg.norm(points[66] - points[62]) / np.linalg.norm(points[54] - points[48]))


def eye_opening(points):
    """Between the lids in eye widths, of both eyes the mean."""
    lids = [np.linalg.norm(points[low] - points[up]) for up, low in ((37, 41), (38, 40), (43, 47), (44, 46))]
    widths = [np.linalg.norm(points[right] - points[left]) for left, right in ((36, 39), (42, 45))]
    return float(np.sum(lids) / (2 * np.sum(widths)))
