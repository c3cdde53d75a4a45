"""Whether a driver can be followed well: a face too small, too dark, too far turned, or not there."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal, get_args

import numpy as np

from bilayer.runtime.face.found import Face
from bilayer.runtime.motion.drivers import DriverFrame

Problem = Literal["lost", "too_small", "too_dark", "turned"]
PROBLEMS: tuple[Problem, ...] = get_args(Problem)

SMALL = 64.0  # px, the landmarks' larger extent; the mesh takes a face of about 130 px, and is blown up below
DARK = 40.0  # of 255, the face's mean
TURNED = 40.0  # degrees; the far half of the face is guessed from there on
PATIENCE = 0.5  # s that it must be so before it is told: a blink of the tracker is no reason


class DriverQuality:
    """Counts the frames that are hard to follow, and tells of each problem once, when it has lasted half a second.

    Args:
        rate: frames a second.
        warn: is given a line for a person, at most one to a problem.
    """

    def __init__(self, rate: float, warn: Callable[[str], None]) -> None:
        self._patience, self._warn = max(1, round(PATIENCE * rate)), warn
        self._lasting: Counter[Problem] = Counter()  # frames in a row
        self._told: set[Problem] = set()
        self.frames: dict[Problem, int] = dict.fromkeys(PROBLEMS, 0)

    def note(self, frame: DriverFrame) -> None:
        """Look at the next frame."""
        found = dict(problems(frame))
        for problem in PROBLEMS:
            self._lasting[problem] = self._lasting[problem] + 1 if problem in found else 0
            self.frames[problem] += problem in found
            if self._lasting[problem] >= self._patience and problem not in self._told:
                self._told.add(problem)
                self._warn(f"driver: {found[problem]}")


def problems(frame: DriverFrame) -> Iterator[tuple[Problem, str]]:
    """Yield what is wrong with a frame, and what to do about it."""
    if frame.landmarks is None:
        yield "lost", "no face is seen; the pose before is held until there is one"
        return
    extent = float(np.ptp(frame.landmarks, axis=0).max())
    if extent < SMALL:
        yield "too_small", f"the face is too small, {extent:.0f} px (expected {SMALL:.0f} or more); come nearer"
    if frame.light is not None and frame.light < DARK:
        yield "too_dark", f"the face is too dark, {frame.light:.0f} of 255 (expected {DARK:.0f} or more); light it"
    yaw = Face(frame.landmarks, 1.0, (0, 0, 0, 0)).yaw
    if abs(yaw) > TURNED:
        yield "turned", f"the head is turned by {abs(yaw):.0f} degrees (expected at most {TURNED:.0f}); face the camera"
