"""What `bilayer-render` is asked for; loads no library, so that --help need not."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import click

from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.command.options import Option, refuse_typed
from bilayer.runtime.engines.choice import checked_engine, network_file
from bilayer.runtime.files.given import check_driver_file
from bilayer.runtime.files.kinds import check_photo_file
from bilayer.runtime.files.places import check_video
from bilayer.runtime.files.writing import check_apart
from bilayer.runtime.vocabulary import ANY_CAMERA, PHOTO_SUFFIXES, VIDEO_SUFFIXES, EngineName, Precision, RetargetMode

WINDOW = Path("window")


@dataclass(frozen=True)
class RenderOptions:
    """What is to be rendered, of whom, and where to."""

    bundle: Annotated[Path, Option(argument=True)]
    out: Annotated[
        Path | None,
        Option(
            ".mp4, .gif, a new folder for PNGs, or window; needed but for --virtual-camera.",
            ("-o",),
            suffixes=VIDEO_SUFFIXES,
        ),
    ] = None
    drive: Annotated[
        str | None,
        Option("A landmark track (.npy .npz .json), video, animation, photo, or webcam's number.", metavar="DRIVE"),
    ] = None
    demo_motion: Annotated[bool, Option("The built-in motion: turn, nod, blink and talk.")] = False
    retarget: Annotated[
        RetargetMode,
        Option("How the driver's landmarks become the avatar's (docs/motion.md); a still's are taken as they are."),
    ] = "relative"
    background: Annotated[str | None, Option("A colour, a picture, or none.", default="white; none for PNGs")] = None
    side_by_side: Annotated[bool, Option("The driver to the left of the avatar.")] = False
    parts: Annotated[bool, Option("What the frame is made of to its right: lf, hf, uv, mask.", former="--layers")] = (
        False
    )
    size: Annotated[
        int | None, Option("Side of the frames, px.", at_least=16, at_most=4096, default="the avatar's")
    ] = None
    frames: Annotated[int | None, Option("Stop after so many.", at_least=1)] = None
    engine: Annotated[EngineName, Option("What runs the network: docs/player.md.")] = "auto"
    precision: Annotated[Precision, Option("Of the network.")] = "fp32"
    threads: Annotated[int | None, Option("Of the network.", at_least=1, at_most=256, default="the engine's")] = None
    sound: Annotated[bool, Option("The driver's sound, in an .mp4.")] = True
    virtual_camera: Annotated[
        str | None,
        Option("Frames for other programs; beside a window, or alone.", metavar="[DEVICE]", alone=ANY_CAMERA),
    ] = None

    paste_back: Annotated[Path | None, Option("The avatar's own photo, in which it moves.", metavar="PHOTO")] = None

    @property
    def file(self) -> Path | None:
        """What is written, a folder too; None where frames are only shown as they come."""
        return None if self.out == WINDOW else self.out

    @property
    def place(self) -> str:
        """Where the frames go, for a person."""
        shown = ["window"] if self.out == WINDOW else []
        return str(self.file) if self.file else " and ".join(shown + ["virtual camera"] * bool(self.virtual_camera))

    @property
    def webcam(self) -> int | None:
        """The number of the webcam that drives, by itself or as Linux names its device; None where none does."""
        found = re.fullmatch(r"(?:/dev/video)?([0-9]{1,6})", self.drive or "")
        return int(found[1]) if found else None

    def check(self) -> None:
        """See what can be seen without a library.

        Raises:
            UsageError: not one driver, or no place to write to.
            InputError: the bundle, for this engine, or the driver cannot be used, or the place to write to.
            ToolMissingError: the engine is not installed.
        """
        if (self.drive is None) == (not self.demo_motion):
            raise click.UsageError("give either --drive DRIVE or --demo-motion")
        if self.demo_motion:
            refuse_typed("--demo-motion is in the avatar's own landmarks", ["retarget"])
        if self.out is None and self.virtual_camera is None:
            raise click.UsageError("Missing option '-o' / '--out'.")
        if self.file is not None and self.virtual_camera is not None:
            raise click.UsageError("--virtual-camera shows frames as they come: leave --out away, or give --out window")
        if self.paste_back is not None and (self.side_by_side or self.parts or self.background is not None):
            raise click.UsageError("--paste-back shows the photo: leave --side-by-side, --parts and --background away")
        bundle = read_bundle(self.bundle)
        engine = checked_engine(self.engine, self.precision)
        network_file(bundle.path(bundle.contract.files.onnx), bundle.contract, engine, self.precision)
        if self.paste_back is not None:
            check_photo_file(self.paste_back)
        if self.drive is not None and self.webcam is None:
            if "://" in self.drive:
                raise click.UsageError(f"--drive {self.drive} is a URL: expected a file of this machine, or a webcam")
            check_driver_file(Path(self.drive))
        if self.background is not None and Path(self.background).suffix.lower() in PHOTO_SUFFIXES:
            check_photo_file(Path(self.background))
        if self.file is not None:
            check_video(self.file)
            check_apart([self.file], (self.drive, self.paste_back, self.background))
