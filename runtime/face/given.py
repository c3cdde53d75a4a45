"""Whether a file of landmarks that is given is one: told before anything is loaded but numpy, and that for a file."""

from bilayer.runtime.errors import LandmarkError
from bilayer.runtime.files.given import check_points
from bilayer.runtime.files.reading import StrPath
from bilayer.runtime.vocabulary import LANDMARK_SUFFIXES


def check_landmark_file(path: StrPath | None) -> None:
    """Raise a LandmarkError where a file is none of 68 points of a face in a photo's pixels, if one is given."""
    check_points(path, "landmarks", LANDMARK_SUFFIXES)
    if path is None:
        return
    from bilayer.runtime.face.crop import face_box
    from bilayer.runtime.face.landmark_files import read_landmarks

    points = read_landmarks(path)
    try:
        face_box(points)
    except LandmarkError as error:
        raise LandmarkError(f"{path}: {error}") from error
