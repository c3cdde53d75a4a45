"""What OpenCV keeps for the whole process, for as long as it is wanted otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager

_SILENT = 0  # of OpenCV's levels


@contextmanager
def opencv_threads(count: int) -> Iterator[None]:
    """Let OpenCV compute with `count` threads inside, and with as many as before afterwards; a decorator, too."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@contextmanager
def hushed_opencv() -> Iterator[None]:
    """Let OpenCV print nothing of its own inside: what is wrong is said in our words."""
    import cv2

    before = cv2.setLogLevel(_SILENT)
    try:
        yield
    finally:
        cv2.setLogLevel(before)
