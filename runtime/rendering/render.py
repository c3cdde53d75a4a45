"""A driver and an avatar -> a video: the loop of `bilayer-render`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.errors import LandmarkError
from bilayer.runtime.face.crop import CropBox
from bilayer.runtime.face.stickman import draw_stickman
from bilayer.runtime.frame import display_bytes
from bilayer.runtime.media.writers import FrameWriter
from bilayer.runtime.motion.drivers import NO_FACE, Driver, DriverFrame
from bilayer.runtime.motion.follow import Followed
from bilayer.runtime.player import AvatarPlayer, FrameLayers
from bilayer.runtime.rendering.paste_back import PasteBack
from bilayer.runtime.rendering.stages import StageTimes

STAGES = ("track", "network", "sample", "compose", "encode")  # compose: what is shown beside the frame

ToPose = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Panels:
    """What is shown beside the frame, or around it."""

    driver: bool = False  # to its left: the driver's picture, or its landmarks where there is none
    layers: bool = False  # to its right: lf, hf, uv, mask
    window: CropBox | None = None  # what of that picture, if not the largest square of its middle
    paste: PasteBack | None = None  # the photo around the frame


class Pacer(Protocol):
    """When frames are shown; see `RealTime`."""

    def admits(self, number: int) -> bool:
        """Return whether frame `number`, from 0, is to be rendered."""
        ...

    def wait(self, number: int) -> None:
        """Return when it is to be shown."""
        ...


@dataclass(frozen=True)
class Rendered:
    """What came of a rendering: how many frames, where their time went, and what is to be said of driver and sound."""

    frames: int
    without_face: int  # of them; the pose before was held
    skipped: int  # the driver's, beside those: not rendered, to keep the pace
    times: StageTimes
    sound: str | None = None  # what became of the driver's
    followed: Followed | None = None  # how the driver was followed


def render_video(
    avatar: AvatarPlayer,
    driver: Driver,
    to_pose: ToPose,
    writer: FrameWriter,
    panels: Panels = Panels(),
    limit: int | None = None,
    advance: Callable[[], None] = lambda: None,
    *,
    stopped: Callable[[], bool] = lambda: False,
    pace: Pacer | None = None,
) -> Rendered:
    """Render a driver's frames, until it ends, `limit` is reached, or `stopped` says so; return what came of it.

    Args:
        avatar: to be driven.
        driver: its frames; where one shows no face, the pose before is held, at first the avatar's own.
        to_pose: landmarks (68, 2) in the driver's coordinates -> pose (136,), as `Retargeter.pose`.
        writer: is given every frame; left open.
        panels: what is shown beside it.
        limit: the driver's frames at the most.
        advance: called after every frame.
        stopped: asked before every frame.
        pace: None writes all frames as soon as they can be had.

    Raises:
        LandmarkError: no frame of the driver shows a face.
    """
    times, pose, number, written, without_face = StageTimes(STAGES), avatar.source_pose, 0, 0, 0
    face_seen = False
    buffer = np.empty((avatar.size, avatar.size, 4), np.uint8)
    frames = iter(driver)
    while (limit is None or number < limit) and not stopped():
        with times.stage("track"):
            moment = next(frames, None)
            if moment is not None and moment.landmarks is not None:
                pose = to_pose(moment.landmarks)
        if moment is None:
            break
        times.add_to_last("track", moment.seconds)
        face_seen |= moment.landmarks is not None
        if pace is None or pace.admits(number):
            with times.stage("network"):
                avatar.infer(pose)
            with times.stage("sample"):
                frame = avatar.compose(buffer)
            if panels.paste is not None:
                with times.stage("compose"):
                    frame = panels.paste(frame)
            if panels.driver or panels.layers:
                with times.stage("compose"):
                    frame = np.concatenate(list(_drawn(avatar, frame, pose, moment, panels)), axis=1)
            if pace is not None:
                pace.wait(number)
            with times.stage("encode"):
                writer.write(frame)
            written += 1
            without_face += moment.landmarks is None
        number += 1
        advance()
    if number and not face_seen:
        raise LandmarkError(f"{driver.name}: {NO_FACE}")
    return Rendered(written, without_face, number - written, times)


def _drawn(avatar: AvatarPlayer, frame: Bytes, pose: Floats, moment: DriverFrame, panels: Panels) -> Iterator[Bytes]:
    """Pictures (S, S, 4) from left to right."""
    if panels.driver:
        if moment.picture is None:
            yield _opaque(draw_stickman(pose, avatar.size))
        else:
            yield _driver_picture(moment.picture, panels.window, avatar.size)
    yield frame
    if panels.layers:
        yield from layer_pictures(avatar.layers())


def _driver_picture(picture: Bytes, window: CropBox | None, size: int) -> Bytes:
    """A square of the picture (H, W, 3), the same in every frame and nowhere outside of it: (S, S, 4)."""
    height, width = picture.shape[:2]
    window = window or CropBox(width // 2, height // 2, max(height, width))
    side = min(height, width, window.side)
    left, top = min(max(window.x - side // 2, 0), width - side), min(max(window.y - side // 2, 0), height - side)
    square = Image.fromarray(picture).crop((left, top, left + side, top + side))
    return _opaque(np.asarray(square.resize((size, size), Image.Resampling.BICUBIC)))


def layer_pictures(layers: FrameLayers) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Return what a frame is made of as pictures (S, S, 4): lf, hf, uv (x as red, y as green), mask."""
    uv = np.zeros((3, *layers.uv.shape[:2]), np.float32)
    uv[:2] = layers.uv.transpose(2, 0, 1)
    mask = np.broadcast_to(layers.mask * 2 - 1, uv.shape)
    lf, hf, warp, alpha = (_opaque(display_bytes(planes)) for planes in (layers.lf, layers.hf, uv, mask))
    return lf, hf, warp, alpha


def _opaque(picture: Bytes) -> Bytes:
    """(S, S, 3) -> (S, S, 4)."""
    frame = np.full((*picture.shape[:2], 4), 255, np.uint8)
    frame[..., :3] = picture
    return frame
