"""A camera that other programs see, video calls above all: v4l2loopback on Linux, OBS's elsewhere (pyvirtualcam)."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.errors import ToolMissingError, in_short
from bilayer.runtime.media.writers import on_black

_WAY_OUT = {
    "linux": "apt install v4l2loopback-dkms, then: sudo modprobe v4l2loopback exclusive_caps=1 card_label=bilayer",
    "other": "install OBS Studio and start its virtual camera once",
}


class VirtualCamera:
    """Sends frames to other programs.

    Attributes:
        device: its name, as those programs list it.
    """

    def __init__(self, camera: Any, picture: Bytes) -> None:
        self._camera, self._picture = camera, picture
        self.device = str(camera.device)

    def write(self, frame: Bytes) -> None:
        """Send a frame (H, W, 4) RGBA, over black, or raise a ToolMissingError: the camera is gone."""
        on_black(frame, self._picture)
        try:
            self._camera.send(self._picture)
        except (RuntimeError, OSError) as error:
            raise ToolMissingError(f"virtual camera {self.device}: it took no frame ({in_short(error)})") from error


@contextmanager
def open_virtual_camera(device: str | None, height: int, width: int, rate: float) -> Iterator[VirtualCamera]:
    """Yield a camera of this size, to even numbers of pixels, which its formats ask for.

    Args:
        device: /dev/video9, or OBS's name; None: the first there is.
        height: of the frames.
        width: likewise.
        rate: frames a second, a hint to the programs.

    Raises:
        ToolMissingError: pyvirtualcam is not installed, or there is no such camera, or not for this size.
    """
    try:
        import pyvirtualcam
    except ImportError as error:
        way_out = "pip install 'bilayer[camera]'"
        raise ToolMissingError(f"a virtual camera needs pyvirtualcam ({error}); {way_out}") from error
    picture = np.zeros((height + height % 2, width + width % 2, 3), np.uint8)
    try:
        camera = pyvirtualcam.Camera(picture.shape[1], picture.shape[0], rate, device=device)
    except (RuntimeError, OSError) as error:
        way_out = _WAY_OUT.get(sys.platform, _WAY_OUT["other"])
        raise ToolMissingError(f"virtual camera: {in_short(error)}; {way_out}") from error
    with camera:
        yield VirtualCamera(camera, picture)
