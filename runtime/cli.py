"""`bilayer-render`: an avatar and what drives it -> a video."""

import json
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bilayer.runtime.console import Command, progress, table

if TYPE_CHECKING:
    from bilayer.runtime.media.writers import FrameWriter
    from bilayer.runtime.motion.drivers import LandmarkDriver, LiveDriver, TrackedDriver
    from bilayer.runtime.player import AvatarPlayer
    from bilayer.runtime.rendering import Pace, Rendered, ToPose, View

TRACKS = (".npy", ".npz", ".json")
PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic")
STILL_RATE = 25.0  # frames a second, of a driver that has no rate
WINDOW = Path("window")
INTERRUPTED = 130  # exit code: 128 + SIGINT


@click.command(cls=Command)
@click.version_option(package_name="bilayer")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--drive", metavar="DRIVE", help="A landmark track (.npy .npz .json), video, photo, or webcam's number.")
@click.option("--demo-motion", is_flag=True, help="The built-in motion: turn, nod, blink and talk.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help=".mp4, .gif, a new folder for PNGs, or the word window.",
)
@click.option(
    "--retarget",
    type=click.Choice(["absolute", "relative", "procrustes"]),
    default="relative",
    show_default=True,
    help="How the driver's landmarks become the avatar's (docs/motion.md); a photo's are taken as they are.",
)
@click.option("--background", help="A colour, a picture, or none. [default: white; none for PNGs]")
@click.option("--side-by-side", is_flag=True, help="The driver to the left of the avatar.")
@click.option("--layers", is_flag=True, help="What the frame is made of to its right: lf, hf, uv, mask.")
@click.option("--frames", type=click.IntRange(1), help="Stop after so many.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "onnxruntime", "openvino", "ncnn", "ncnn-vulkan"]),
    default="auto",
    show_default=True,
    help="What runs the network: docs/player.md.",
)
@click.option(
    "--precision", type=click.Choice(["f32", "bf16", "f16"]), default="f32", show_default=True, help="Of the network."
)
@click.option("--threads", type=click.IntRange(1), help="Of the network. [default: the engine's choice]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def main(
    bundle: Path,
    drive: str | None,
    demo_motion: bool,
    out: Path,
    retarget: str,
    background: str | None,
    side_by_side: bool,
    layers: bool,
    frames: int | None,
    engine: Any,
    precision: Any,
    threads: int | None,
    as_json: bool,
) -> None:
    """Drive the avatar in BUNDLE (a folder that bilayer-export wrote, or its avatar.json) and write what it does.

    A window shows it in real time, over and over; Escape, Q or its button closes it. Ctrl-C ends a webcam or a window
    and keeps what was recorded; otherwise nothing is written.
    """
    if (drive is None) == (not demo_motion):
        raise click.UsageError("give either --drive DRIVE or --demo-motion")
    try:
        from bilayer.runtime.bundle import read_bundle
        from bilayer.runtime.player import AvatarPlayer
        from bilayer.runtime.rendering import View

        size = read_bundle(bundle).contract.image_size
        colour = background or ("white" if out.suffix or out == WINDOW else "none")
        backdrop = _background(colour, size)
        avatar = AvatarPlayer.load(bundle, engine=engine, precision=precision, threads=threads, background=backdrop)
        if precision != "f32":
            from bilayer.runtime.reduced_precision import check_reduced_precision

            warning = check_reduced_precision(
                avatar, AvatarPlayer.load(bundle, engine="onnxruntime", background=backdrop)
            )
            if warning:
                click.echo(f"warning: {warning}", err=True)
        view = View(side_by_side, layers)
        rendered, rate = _render(avatar, _Wish(drive, retarget, out, view, frames))
    except KeyboardInterrupt:
        click.echo("interrupted: nothing was written", err=True)
        click.get_current_context().exit(INTERRUPTED)
    if as_json:
        click.echo(json.dumps(_report(avatar, rendered, out, rate), indent=2))
        return
    click.echo(_summary(avatar, rendered, out, rate))


@dataclass(frozen=True)
class _Wish:
    """What is to be rendered."""

    drive: str | None  # None: the built-in motion
    retarget: Any
    out: Path
    view: "View"
    limit: int | None  # frames

    @property
    def is_webcam(self) -> bool:
        return self.drive is not None and self.drive.isdecimal()


@dataclass(frozen=True)
class _Sink:
    """Where the frames go."""

    writer: "FrameWriter"
    pace: "Pace | None" = None
    closed: Callable[[], bool] = lambda: False


def _render(avatar: "AvatarPlayer", wish: _Wish) -> tuple["Rendered", float]:
    """What came of it, and its frames a second."""
    from bilayer.runtime.motion.drivers import Repeated
    from bilayer.runtime.rendering import render_video

    # What the frames go to comes before the faces are looked for, which takes time that would be lost
    with _open_driver(wish, avatar) as driver, _open_sink(wish, driver.rate) as sink:
        to_pose = _to_pose(wish, avatar, driver)
        endless = driver.count is None or wish.out == WINDOW
        shown = Repeated(driver) if endless and driver.count is not None else driver
        title = f"rendering {wish.out.name}"
        with _noting_ctrl_c(endless) as ended, _progress(title, wish.limit, shown.count) as advance:
            rendered = render_video(
                avatar,
                shown,
                to_pose,
                sink.writer,
                wish.view,
                wish.limit,
                advance,
                stopped=lambda: ended() or sink.closed(),
                pace=sink.pace,
            )
    return rendered, driver.rate


@contextmanager
def _open_driver(wish: _Wish, avatar: "AvatarPlayer") -> Iterator["LandmarkDriver | LiveDriver | TrackedDriver"]:
    from bilayer.runtime.face.mediapipe import MediapipeLandmarker
    from bilayer.runtime.media.photo import read_photo
    from bilayer.runtime.media.video import VideoFrames, WebcamFrames
    from bilayer.runtime.motion.drivers import LandmarkDriver, LiveDriver, OnePicture, TrackedDriver
    from bilayer.runtime.motion.track import demo_motion
    from bilayer.runtime.motion.track_files import read_track

    if wish.drive is None:
        track = demo_motion(avatar.source_pose.reshape(-1, 2))  # in the source's own coordinates
        yield LandmarkDriver(track.landmarks, track.fps)
        return
    path, suffix = Path(wish.drive), Path(wish.drive).suffix.lower()
    if suffix in TRACKS:
        track = read_track(path)
        yield LandmarkDriver(track.landmarks, track.fps)
    elif suffix in PHOTOS:
        yield TrackedDriver(OnePicture(read_photo(path), STILL_RATE).open, wish.view.driver)
    elif wish.is_webcam:
        with WebcamFrames(int(wish.drive)) as pictures:
            yield LiveDriver(pictures, MediapipeLandmarker())
    else:
        yield TrackedDriver(lambda: VideoFrames(path), wish.view.driver)


def _to_pose(wish: _Wish, avatar: "AvatarPlayer", driver: "LandmarkDriver | LiveDriver | TrackedDriver") -> "ToPose":
    """What makes poses of the driver's landmarks; those of a file are found for it."""
    from bilayer.runtime.face.mediapipe import MediapipeLandmarker
    from bilayer.runtime.motion.drivers import LiveDriver, TrackedDriver
    from bilayer.runtime.motion.retarget import Retargeter

    source, mode = avatar.source_pose, wish.retarget
    if wish.drive is None:
        return lambda landmarks: landmarks.reshape(-1)
    if isinstance(driver, TrackedDriver):
        with _progress("finding the face", wish.limit, driver.count) as advance:
            driver.track(MediapipeLandmarker(), wish.limit, advance)
    if Path(wish.drive).suffix.lower() in PHOTOS:
        mode = "absolute"  # one frame has no motion to be relative to: its own shape is what there is to show
    if mode == "absolute" or isinstance(driver, LiveDriver):
        return Retargeter(source, mode).pose
    return Retargeter(source, mode, driver.reference(source)).pose


@contextmanager
def _open_sink(wish: _Wish, rate: float) -> Iterator[_Sink]:
    from bilayer.runtime.media.window import RealTime, open_window
    from bilayer.runtime.media.writers import open_writer

    if wish.out != WINDOW:
        with open_writer(wish.out, rate) as writer:
            yield _Sink(writer)
        return
    with open_window("bilayer (Esc or Q closes)") as window:
        # A webcam has its own pace
        yield _Sink(window, None if wish.is_webcam else RealTime(rate, window.idle), lambda: window.closed)


def _progress(title: str, limit: int | None, count: int | None) -> AbstractContextManager[Callable[..., None]]:
    """A bar where the end is known."""
    known = [number for number in (limit, count) if number]
    return progress(title, min(known)) if known else nullcontext(lambda: None)


@contextmanager
def _noting_ctrl_c(endless: bool) -> Iterator[Callable[[], bool]]:
    """A function that says whether Ctrl-C was pressed, the usual end of what has none; a second one interrupts."""
    pressed = False

    def note(*_: object) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, usual)

    usual = signal.signal(signal.SIGINT, note) if endless else None
    try:
        yield lambda: pressed
    finally:
        if endless:
            signal.signal(signal.SIGINT, usual)


def _background(name: str, size: int) -> Any:
    """None, a colour (3,) or a picture (S, S, 3)."""
    if name == "none":
        return None
    import numpy as np
    from PIL import Image, ImageColor, ImageOps

    from bilayer.runtime.errors import InputError
    from bilayer.runtime.media.photo import read_photo

    if Path(name).suffix.lower() in PHOTOS:
        return np.asarray(ImageOps.fit(Image.fromarray(read_photo(name)), (size, size)))
    try:
        return np.array(ImageColor.getrgb(name)[:3])
    except ValueError as error:
        raise InputError(f"background: expected a colour (white, #20a0ff), a picture or none, found {name}") from error


def _report(avatar: "AvatarPlayer", rendered: "Rendered", out: Path, rate: float) -> dict[str, Any]:
    times = rendered.times
    return {
        "out": str(out),
        "frames": rendered.frames,
        "frames_without_face": rendered.without_face,
        "frames_skipped": rendered.skipped,
        "frame_rate": rate,
        "size": avatar.size,
        "engine": avatar.engine,
        "precision": avatar.precision,
        "median_ms": times.medians_ms(),
        "share": times.shares(),
        "frames_per_second": round(_speed(rendered), 2),
    }


def _summary(avatar: "AvatarPlayer", rendered: "Rendered", out: Path, rate: float) -> str:
    medians, shares = rendered.times.medians_ms(), rendered.times.shares()
    lines = [
        table(
            ["stage", "median ms", "share"], [(name, f"{medians[name]:.2f}", f"{shares[name]:.1%}") for name in medians]
        ),
        "",
        f"{out}  {rendered.frames} frames of {avatar.size} px, {rate:g} a second; "
        f"rendered at {_speed(rendered):.1f} a second",
        f"network: {avatar.engine}, {avatar.precision}",
    ]
    if not avatar.bundle.contract.origin.trained:
        lines.append("weights: RANDOM NUMBERS, not a trained model")
    if rendered.without_face:
        lines.append(f"{rendered.without_face} frames without a face: the pose before was held")
    if rendered.skipped:
        lines.append(f"{rendered.skipped} frames were skipped to keep real time")
    following = "the same with --out a.mp4" if out == WINDOW else f"open {shlex.quote(str(out))}"
    return "\n".join(lines) + f"\n\nnext: {following}"


def _speed(rendered: "Rendered") -> float:
    """Frames a second, of the time that went into them."""
    return rendered.frames / (rendered.times.total or 1.0)


if __name__ == "__main__":
    main(prog_name="bilayer-render")
