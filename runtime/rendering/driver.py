"""What drives an avatar in `bilayer-render`, opened before that is loaded: what is wrong with it is told at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from bilayer.runtime.errors import LandmarkError
from bilayer.runtime.face import model_files
from bilayer.runtime.face.crop import check_pixels
from bilayer.runtime.media.sources import open_pictures
from bilayer.runtime.media.video import WebcamFrames
from bilayer.runtime.motion.drivers import LandmarkDriver, LiveDriver, TrackedDriver
from bilayer.runtime.motion.track import demo_motion
from bilayer.runtime.motion.track_files import read_track
from bilayer.runtime.rendering.options import RenderOptions
from bilayer.runtime.vocabulary import TRACK_SUFFIXES

AnyDriver = LandmarkDriver | LiveDriver | TrackedDriver


@contextmanager
def open_driver(options: RenderOptions, source: ArrayLike) -> Iterator[AnyDriver]:
    """Yield what the options ask for; the built-in motion starts at `source`, the avatar's own pose (136,).

    Raises:
        InputError: the track, picture or video cannot be used, or the webcam not opened.
        ToolMissingError: what finds faces, or reads videos, is not set up.
    """
    if options.drive is None:
        track = demo_motion(np.array(source, np.float32).reshape(-1, 2))  # in the source's own coordinates
        yield LandmarkDriver(track.landmarks, track.fps)
    elif (path := Path(options.drive)).suffix.lower() in TRACK_SUFFIXES:
        yield _track_driver(path)
    else:
        model_files.check_set_up(*model_files.FINDING)
        if options.webcam is None:
            yield TrackedDriver(lambda: open_pictures(path), options.side_by_side, str(path))
            return
        with WebcamFrames(options.webcam) as pictures:
            from bilayer.runtime.face.mediapipe import MediapipeLandmarker

            yield LiveDriver(pictures, MediapipeLandmarker(), f"webcam {options.webcam}")


def _track_driver(path: Path) -> LandmarkDriver:
    track = read_track(path)
    driver = LandmarkDriver(track.landmarks, track.fps, str(path))
    try:
        check_pixels(float(np.ptp(track.landmarks, axis=1).max()))
        if not driver.shows_a_face:
            found = "in each of its frames all points are in one place, or on one line"
            raise LandmarkError(f"driver: expected a face, found none: {found}; take another track")
    except LandmarkError as error:
        raise LandmarkError(f"{path}: {error}") from error
    return driver
