"""Lids that are drawn: pieces of the texture with the eyes farther and farther shut, and which of them a pose shows.

For networks that do not move the lids, as the demo weights': model/lids.py draws the pieces. A player lays them into
the texture before it is sampled; one that does not shows open eyes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from bilayer.runtime.arrays import Floats
from bilayer.runtime.bundle import DrawnLids
from bilayer.runtime.face.expression import eye_openings

OPEN = 0.85  # of the photo's opening: what is less shut is a turned head's foreshortening, or the landmarker's noise
SHUT = 0.3  # of the same: landmarkers leave a gap between lids that touch


def shut_eyes(pose: ArrayLike, source_pose: ArrayLike) -> Floats:
    """Return how far each eye is shut (2,), the picture's left one first: 0 as in the photo or wider, 1 shut.

    By the distance of the lids over the eye's width, against that in the pose of the photo: open above OPEN of it, shut
    below SHUT, evenly between.
    """
    now, photo = (eye_openings(np.asarray(p, np.float64).reshape(-1, 2)) for p in (pose, source_pose))
    shut: Floats = np.clip((OPEN - now / np.maximum(photo, 1e-6)) / (OPEN - SHUT), 0, 1)
    return shut


class LidPainter:
    """Lays the lids of a pose into a packed texture, in place."""

    def __init__(self, lids: DrawnLids, pieces: Sequence[Floats], texture: Floats, source_pose: ArrayLike) -> None:
        """`pieces` are those of each eye (levels, height, width, 4), `texture` (T + 3, T + 3, 4) shows open eyes."""
        self._levels, self._source, self._shown = lids.levels, np.asarray(source_pose), [0, 0]
        self._places = [
            texture[eye.top + 1 : eye.top + 1 + eye.height, eye.left + 1 : eye.left + 1 + eye.width]
            for eye in lids.eyes
        ]
        self._pieces = [[place.copy(), *own] for place, own in zip(self._places, pieces, strict=True)]

    def show(self, pose: ArrayLike) -> None:
        """Lay in the lids of a pose, (136,) or (68, 2)."""
        for eye, shut in enumerate(shut_eyes(pose, self._source)):
            level = round(float(shut) * self._levels)
            if level != self._shown[eye]:
                self._places[eye][:] = self._pieces[eye][level]
                self._shown[eye] = level
