"""How training data are made: settings that are the same for all of a data folder, and options of `bilayer-prepare`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from bilayer.runtime.command.options import Option
from bilayer.runtime.vocabulary import LandmarkerName, PictureFormat


@dataclass(frozen=True)
class VideoSettings:
    """The settings that videos become data by, the same for all of a ROOT."""

    size: Annotated[int, Option("Pixels, of the pictures' sides.", at_least=16, at_most=2048)] = 256
    fps: Annotated[float | None, Option("Frames kept of each second.", at_least=0.01, default="all")] = None
    # The paper: 10
    seconds: Annotated[float | None, Option("Of each video, from its start.", at_least=0.01, default="all")] = None
    min_side: int = 128  # px of the video that a crop spans at least: less is blurred by enlarging
    min_frames: Annotated[int, Option("The least of a sequence.", at_least=1)] = 5
    landmarker: Annotated[LandmarkerName, Option("Who finds the face.")] = "mediapipe"
    picture_format: Annotated[
        PictureFormat, Option("Of the pictures; jpg takes a third of the bytes.", ("--format",))
    ] = "jpg"


@dataclass(frozen=True)
class HeadSettings:
    """The settings that heads are rendered by, the same for all of a ROOT."""

    model: str  # fingerprint of the head model
    frames: Annotated[int, Option("Of each identity.", at_least=1, at_most=99999)] = 20
    size: Annotated[int, Option("Pixels, of the pictures' sides.", at_least=16, at_most=2048)] = 256
    supersampling: Annotated[int, Option("Samples along a pixel's side.", at_least=1, at_most=4)] = 2
    expressions: Annotated[
        Literal["usual", "strong", "pairs"],
        Option("strong: lids shut, mouths wide open more often; pairs: two frames differ in nothing else."),
    ] = "usual"
