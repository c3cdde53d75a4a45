"""`bilayer-render`: an avatar and what drives it -> a video."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bilayer.runtime.console import Command, progress, table

if TYPE_CHECKING:
    from bilayer.runtime.drivers import Driver
    from bilayer.runtime.player import Avatar
    from bilayer.runtime.rendering import Rendered, ToPose

TRACKS = (".npy", ".npz", ".json")
PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic")
STILL_RATE = 25.0  # frames a second, of a driver that has no rate


@click.command(cls=Command)
@click.version_option(package_name="bilayer")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--drive", metavar="DRIVE", help="A landmark track (.npy .npz .json), video, photo, or webcam's number.")
@click.option("--demo-motion", is_flag=True, help="The built-in motion: turn, nod, blink and talk.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help=".mp4, .gif, or a new folder for PNGs.")
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
@click.option("--engine", type=click.Choice(["auto", "onnxruntime", "openvino"]), default="auto", show_default=True)
@click.option(
    "--precision", type=click.Choice(["f32", "bf16"]), default="f32", show_default=True, help="Of the network."
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

    Ctrl-C ends a webcam and keeps what was rendered.
    """
    if (drive is None) == (not demo_motion):
        raise click.UsageError("give either --drive DRIVE or --demo-motion")
    from bilayer.runtime.bundle import read_bundle
    from bilayer.runtime.player import Avatar
    from bilayer.runtime.rendering import View, render_video
    from bilayer.runtime.writers import open_writer

    size = read_bundle(bundle).contract.image_size
    backdrop = _background(background or ("white" if out.suffix else "none"), size)
    avatar = Avatar.load(bundle, engine=engine, precision=precision, threads=threads, background=backdrop)
    with _open_driver(drive, avatar, retarget) as (driver, to_pose), open_writer(out, driver.rate) as writer:
        count = min(frames or driver.count or 0, driver.count or frames or 0)
        bar = progress(f"rendering {out.name}", count) if count else nullcontext(lambda: None)
        with bar as advance:
            rendered = render_video(avatar, driver, to_pose, writer, View(side_by_side, layers), frames, advance)
    if as_json:
        click.echo(json.dumps(_report(avatar, rendered, out, driver.rate), indent=2))
        return
    click.echo(_summary(avatar, rendered, out, driver.rate))


@contextmanager
def _open_driver(drive: str | None, avatar: "Avatar", mode: Any) -> Iterator[tuple["Driver", "ToPose"]]:
    """The driver, and what makes poses of its landmarks."""
    from bilayer.runtime.drivers import LandmarkDriver, OnePicture, PictureDriver
    from bilayer.runtime.mediapipe import MediapipeLandmarker
    from bilayer.runtime.motion import demo_motion
    from bilayer.runtime.photo import read_photo
    from bilayer.runtime.retarget import Retargeter, closest_frame
    from bilayer.runtime.video import VideoFrames, WebcamFrames

    source = avatar.source_pose
    if drive is None:
        motion = demo_motion(source.reshape(-1, 2))  # in the source's own coordinates
        yield LandmarkDriver(motion.landmarks, motion.fps), lambda landmarks: landmarks.reshape(-1)
        return
    path, suffix = Path(drive), Path(drive).suffix.lower()
    if suffix in TRACKS:
        from bilayer.runtime.track_files import read_track

        track = read_track(path)
        reference = track.landmarks[closest_frame(source, track.landmarks)]
        yield LandmarkDriver(track.landmarks, track.fps), Retargeter(source, mode, reference).pose
    elif suffix in PHOTOS:
        # One frame has no motion to be relative to: its own shape is what there is to show
        photo = OnePicture(read_photo(path), STILL_RATE)
        yield PictureDriver(photo, MediapipeLandmarker()), Retargeter(source, "absolute").pose
    else:
        with WebcamFrames(int(drive)) if drive.isdecimal() else VideoFrames(path) as pictures:
            yield PictureDriver(pictures, MediapipeLandmarker()), Retargeter(source, mode).pose


def _background(name: str, size: int) -> Any:
    """None, a colour (3,) or a picture (S, S, 3)."""
    if name == "none":
        return None
    import numpy as np
    from PIL import Image, ImageColor, ImageOps

    from bilayer.runtime.errors import InputError
    from bilayer.runtime.photo import read_photo

    if Path(name).suffix.lower() in PHOTOS:
        return np.asarray(ImageOps.fit(Image.fromarray(read_photo(name)), (size, size)))
    try:
        return np.array(ImageColor.getrgb(name)[:3])
    except ValueError as error:
        raise InputError(f"background: expected a colour (white, #20a0ff), a picture or none, found {name}") from error


def _report(avatar: "Avatar", rendered: "Rendered", out: Path, rate: float) -> dict[str, Any]:
    times = rendered.times
    return {
        "out": str(out),
        "frames": rendered.frames,
        "frames_without_face": rendered.without_face,
        "frame_rate": rate,
        "size": avatar.size,
        "engine": avatar.engine,
        "precision": avatar.precision,
        "median_ms": times.medians_ms(),
        "share": times.shares(),
        "frames_per_second": round(rendered.frames / times.total, 2),
    }


def _summary(avatar: "Avatar", rendered: "Rendered", out: Path, rate: float) -> str:
    medians, shares = rendered.times.medians_ms(), rendered.times.shares()
    speed = rendered.frames / rendered.times.total
    lines = [
        table(
            ["stage", "median ms", "share"], [(name, f"{medians[name]:.2f}", f"{shares[name]:.1%}") for name in medians]
        ),
        "",
        f"{out}  {rendered.frames} frames of {avatar.size} px, {rate:g} a second; rendered at {speed:.1f} a second",
        f"network: {avatar.engine}, {avatar.precision}",
    ]
    if not avatar.bundle.contract.origin.trained:
        lines.append("weights: RANDOM NUMBERS, not a trained model")
    if rendered.without_face:
        lines.append(f"{rendered.without_face} frames without a face: the pose before was held")
    return "\n".join(lines) + f"\n\nnext: open {shlex.quote(str(out))}"


if __name__ == "__main__":
    main(prog_name="bilayer-render")
