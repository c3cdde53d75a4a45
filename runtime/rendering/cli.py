"""`bilayer-render`: an avatar and what drives it -> a video."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.command.console import Command, as_json_option, look_at, progress, show, table, tell
from bilayer.runtime.command.options import fills
from bilayer.runtime.errors import InputError
from bilayer.runtime.files.places import is_for_pngs
from bilayer.runtime.files.reading import is_there
from bilayer.runtime.motion.options import DrivingOptions
from bilayer.runtime.rendering.options import RenderOptions

if TYPE_CHECKING:
    from bilayer.runtime.motion.retarget import Gains
    from bilayer.runtime.player import AvatarPlayer
    from bilayer.runtime.rendering.driver import AnyDriver
    from bilayer.runtime.rendering.paste_back import PasteBack
    from bilayer.runtime.rendering.render import Panels, Rendered, ToPose

INTERRUPTED = 130  # exit code: 128 + SIGINT


@click.command(cls=Command)
@fills(DrivingOptions)
@fills(RenderOptions)
@as_json_option
def main(options: RenderOptions, driving: DrivingOptions, as_json: bool) -> None:
    """Drive the avatar in BUNDLE (a folder that bilayer-export wrote, or its avatar.json) and write what it does.

    A window shows it in real time, over and over, and tells its keys at H; Escape, Q or its button closes it. Ctrl-C
    ends a webcam, a window or a virtual camera and keeps what was recorded; otherwise nothing is written.
    """
    avatar, rendered, rate = render(options, driving)
    out = options.place
    following = look_at(options.file) if options.file else "the same with --out a.mp4"
    report = _report(avatar, rendered, out, rate)
    show(report, lambda: _summary(avatar, rendered, out, rate), as_json, following)


def render(options: RenderOptions, driving: DrivingOptions | None = None) -> tuple["AvatarPlayer", "Rendered", float]:
    """Drive the avatar and write its frames; return the avatar, what came of it, and the driver's frames a second."""
    driving = driving or DrivingOptions()
    try:
        options.check()
        if options.drive is not None:
            driving.check(options.retarget)
        return _render(options, driving)
    except KeyboardInterrupt:
        click.echo("interrupted: nothing was written", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


def _load(options: RenderOptions, backdrop: Any) -> "AvatarPlayer":
    """The avatar's player, whose frames have been held to float32's if it computes in less."""
    from bilayer.runtime.player import AvatarPlayer

    avatar = AvatarPlayer.load(
        options.bundle,
        engine=options.engine,
        precision=options.precision,
        threads=options.threads,
        background=backdrop,
        size=options.size,
    )
    if options.precision != "fp32":
        from bilayer.runtime.reduced_precision import check_reduced_precision

        exact = AvatarPlayer.load(options.bundle, engine="onnxruntime", background=backdrop, size=options.size)
        warning = check_reduced_precision(avatar, exact)
        if warning:
            tell("warning", warning)
    return avatar


def _render(options: RenderOptions, driving: DrivingOptions) -> tuple["AvatarPlayer", "Rendered", float]:
    """The avatar, what came of it, and the driver's frames a second."""
    from bilayer.runtime.rendering.driver import open_driver
    from bilayer.runtime.rendering.outputs import noting_ctrl_c, open_output
    from bilayer.runtime.rendering.whole_photo import read_whole_photo, shown_size

    # All that is given is opened, and what the frames go to, before the avatar is loaded and faces are looked for:
    # that time would be lost
    contract = read_bundle(options.bundle).contract
    side, panels = options.size or contract.frame_size, 1 + options.side_by_side + 4 * options.parts
    seen_through = options.paste_back is not None or (options.file is not None and is_for_pngs(options.file))
    backdrop = _background(options.background or ("none" if seen_through else "white"), side)
    photo = None if options.paste_back is None else read_whole_photo(options.paste_back, contract.source)
    size = (side, side * panels) if photo is None else shown_size(photo)
    with (
        open_driver(options, contract.source.pose) as driver,
        open_output(options, driver.rate, size, panels) as output,
    ):
        avatar, paste = _load(options, backdrop), None
        if options.paste_back is not None and photo is not None:
            from bilayer.runtime.rendering.paste_back import paste_back

            paste = paste_back(photo, avatar, options.paste_back)
        from bilayer.runtime.motion.drivers import Repeated
        from bilayer.runtime.motion.follow import Follower
        from bilayer.runtime.rendering.render import render_video

        to_pose, recentre = _to_pose(options, driving.gains, avatar, driver)
        if output.live is not None:
            output.live.recentre = recentre
        endless = driver.count is None or options.file is None
        shown = Repeated(driver) if endless and driver.count is not None else driver
        warn = None if options.drive is None else lambda message: tell("warning", message)
        live = options.webcam is not None
        follower = Follower(shown, to_pose, avatar.source_pose, driving.amount(live), avatar.size, live, warn)
        title = f"rendering {Path(options.place).name}"
        with noting_ctrl_c(endless) as ended, _progress(title, options.frames, shown.count) as advance:
            rendered = render_video(
                avatar,
                follower,
                follower.pose,
                output.writer,
                _panels(options, driver, paste),
                options.frames,
                advance,
                stopped=lambda: output.stopped(ended),
                pace=output.pace,
            )
    return avatar, replace(rendered, sound=output.sound, followed=follower.followed()), driver.rate


def _to_pose(
    options: RenderOptions, gains: "Gains", avatar: "AvatarPlayer", driver: "AnyDriver"
) -> "tuple[ToPose, Callable[[], None] | None]":
    """What makes poses of the driver's landmarks, and its `recentre`; those of a file are found for it."""
    from bilayer.runtime.face.mediapipe import MediapipeLandmarker
    from bilayer.runtime.motion.drivers import LiveDriver, TrackedDriver
    from bilayer.runtime.motion.retarget import Gains, Retargeter

    source, mode = avatar.source_pose, options.retarget
    if options.drive is None:
        if gains == Gains():
            return lambda landmarks: landmarks.reshape(-1), None
        return Retargeter(source, reference=source, gains=gains).pose, None
    if isinstance(driver, TrackedDriver):
        with _progress("finding the face", options.frames, driver.count) as advance:
            driver.track(MediapipeLandmarker(), options.frames, advance)
    if isinstance(driver, LiveDriver):
        retargeter = Retargeter(source, mode, gains=gains)
    elif mode == "absolute" or not driver.moves:  # one face has no motion to be relative to, only its own shape to show
        if gains != Gains():
            tell("warning", "the driver shows one face, which has no motion: gains change nothing")
        retargeter = Retargeter(source, "absolute")
    else:
        retargeter = Retargeter(source, mode, driver.reference(source), gains)
    return retargeter.pose, retargeter.recentre


def _panels(options: RenderOptions, driver: "AnyDriver", paste: "PasteBack | None") -> "Panels":
    """What is shown beside the frame, or around it, once the driver's faces are known."""
    from bilayer.runtime.motion.drivers import TrackedDriver
    from bilayer.runtime.rendering.render import Panels

    window = driver.window() if options.side_by_side and isinstance(driver, TrackedDriver) else None
    return Panels(options.side_by_side, options.parts, window, paste)


def _progress(title: str, limit: int | None, count: int | None) -> AbstractContextManager[Callable[..., None]]:
    """A bar where the end is known."""
    known = [number for number in (limit, count) if number]
    return progress(title, min(known)) if known else nullcontext(lambda: None)


def _background(name: str, size: int) -> Any:
    """None, a colour (3,) or a picture (F, F, 3)."""
    if name == "none":
        return None
    import numpy as np
    from PIL import Image, ImageColor, ImageOps

    from bilayer.runtime.media.photo import read_photo

    try:
        return np.array(ImageColor.getrgb(name)[:3])
    except ValueError as error:
        if not (Path(name).suffix or is_there(name)):
            expected = "expected a colour (white, #20a0ff), a picture or none"
            raise InputError(f"background: {expected}, found {name}") from error
    return np.asarray(ImageOps.fit(Image.fromarray(read_photo(name)), (size, size)))


def _report(avatar: "AvatarPlayer", rendered: "Rendered", out: str, rate: float) -> dict[str, Any]:
    times = rendered.times
    return {
        "out": out,
        "frames": rendered.frames,
        "frames_without_face": rendered.without_face,
        "frames_skipped": rendered.skipped,
        "frame_rate": rate,
        "sound": rendered.sound,
        **({} if rendered.followed is None else asdict(rendered.followed)),
        "image_size": avatar.bundle.contract.image_size,
        "frame_size": avatar.size,
        "engine": avatar.engine,
        "precision": avatar.precision,
        "median_ms": times.medians_ms(),
        "share": times.shares(),
        "frames_per_second": round(_speed(rendered), 2),
    }


def _summary(avatar: "AvatarPlayer", rendered: "Rendered", out: str, rate: float) -> str:
    medians, shares = rendered.times.medians_ms(), rendered.times.shares()
    lines = [
        table(
            ["stage", "median ms", "share"], [(name, f"{medians[name]:.2f}", f"{shares[name]:.1%}") for name in medians]
        ),
        "",
        f"{out}  {rendered.frames} frame{'s' * (rendered.frames != 1)} of {avatar.size} px, {rate:g} a second; "
        f"rendered at {_speed(rendered):.1f} a second",
        f"network: {avatar.engine}, {avatar.precision}",
    ]
    if rendered.sound:
        lines.append(f"sound: {rendered.sound}")
    if not avatar.bundle.contract.origin.trained:
        lines.append("weights: RANDOM NUMBERS, not a trained model")
    if rendered.without_face:
        lines.append(f"without a face: {rendered.without_face} of the frames; the pose before was held")
    if rendered.followed is not None:
        lines += rendered.followed.lines()
    if rendered.skipped:
        lines.append(f"{rendered.skipped} frames were skipped to keep real time")
    return "\n".join(lines)


def _speed(rendered: "Rendered") -> float:
    """Frames a second, of the time that went into them."""
    return rendered.frames / (rendered.times.total or 1.0)


if __name__ == "__main__":
    main(prog_name="bilayer-render")
