"""A user's files: what they are, before libraries are loaded that read them; and written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bilayer.runtime.errors import InputError, OutputError, PhotoError

PHOTO_KINDS = "JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC"
# The brand at byte 8 tells a still picture from a video in the same container (ISO/IEC 23008-12 annex B)
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_MAGIC = {
    b"\xff\xd8\xff": "a photo (JPEG)",
    b"\x89PNG": "a picture (PNG)",
    b"GIF8": "a picture (GIF)",
    b"II*\0": "a picture (TIFF)",
    b"MM\0*": "a picture (TIFF)",
    b"\x1a\x45\xdf\xa3": "a video",
    b"FLV\x01": "a video",
    b"OggS": "a video",  # or sound alone, which is seen when it is read
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "a video",  # ASF: .wmv
    b"\0\0\1\xba": "a video",  # MPEG's program stream
    b"\0\0\1\xb3": "a video",  # MPEG-1 and 2 by themselves
    b"ID3": "sound",
    b"fLaC": "sound",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a .dlc or another zip archive",
}


def kind_of(path: Path) -> str:
    """What a file starts like, in words: "a photo (JPEG)", "a video", "an ONNX network", "text", "data"."""
    head = b""
    with suppress(OSError), path.open("rb") as file:
        head = file.read(512)
    return describe_head(head)


def describe_head(head: bytes) -> str:
    """`kind_of` of a file's first 512 bytes."""
    if not head:
        return "an empty file"
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return "text"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "a picture (BMP)"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a picture (WebP)"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "sound"
    if b"GG" in (head[0::188][:2], head[4::192][:2]):  # packets of a transport stream; of a camcorder's
        return "a video"
    if head[4:8] == b"ftyp":
        if head[8:12] in _HEIC_BRANDS:
            return "a HEIC picture"
        return "an AVIF picture" if head[8:12] in (b"avif", b"avis") else "a video"
    if head[8:12] == b"AVI ":
        return "a video"
    if head[8:10] == b'{"' and head[5:8] == b"\0\0\0":  # a header's length, below 16 MB, and its JSON
        return "a checkpoint or texture (.safetensors)"
    if (head[:1] == b"\x08" and head[2:3] in (b"\x12", b":")) or head[:1] == b":":  # ir_version, then producer or graph
        return "an ONNX network"
    return "data"


def check_input(path: str | Path | None, error: type[InputError] = InputError) -> None:
    """Raise `error` where nothing lies at `path`, if one is given."""
    if path is not None and not Path(path).exists():
        raise error(f"{path}: no such file or folder")


def check_folder(path: Path | None) -> None:
    """Raise an InputError where `path` is no folder, if one is given."""
    if path is not None and not path.is_dir():
        raise InputError(f"{path}: expected a folder, found {'a file' if path.is_file() else 'nothing'}")


def check_photo_file(path: Path) -> None:
    """See from its first bytes that a file may be a photo; that it is one is seen when it is read.

    Raises:
        PhotoError: no such file, none that has contents, or text.
    """
    asked_for = f"expected a photo ({PHOTO_KINDS})"
    if path.is_dir():
        raise PhotoError(f"{path}: is a folder; name one photo in it")
    if not path.exists():
        raise PhotoError(f"{path}: no such file; check the name")
    if not path.is_file():
        raise PhotoError(f"{path}: {asked_for}, found a device or pipe; save the photo to a file first")
    way_out = {"an empty file": "copy or download it again", "text": "name the picture file itself"}
    kind = kind_of(path)
    if kind in way_out and os.access(path, os.R_OK):
        raise PhotoError(f"{path}: {asked_for}, found {kind}; {way_out[kind]}")


def check_output(target: Path) -> None:
    """See that a file can be written, its folder made if need be: before the work that ends in it.

    Raises:
        OutputError: it is a folder, or its place cannot be written to.
    """
    if target.is_dir():
        raise OutputError(f"{target}: is a folder; name a file to write")
    place = next(folder for folder in target.absolute().parents if os.path.lexists(folder))
    if not place.is_dir():
        raise OutputError(f"{target}: {place} is a file and not a folder; name another place")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"{target}: cannot write here: no permission for {place}")


def check_video(out: Path) -> None:
    """See that `out` names an .mp4, a .gif or a folder for PNGs, and can be written.

    Raises:
        OutputError: it does not, or cannot.
    """
    if out.suffix.lower() not in (".mp4", ".gif", ""):
        raise OutputError(f"{out}: expected .mp4, .gif, or a folder's name for PNGs; found {out.suffix.lower()}")
    check_output(out if out.suffix else out / "00000.png")


@contextmanager
def making_folder(folder: Path) -> Iterator[None]:
    """`folder` is there inside, with its parents; where the block fails, those that were made for it go again."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for place in missing:
            with suppress(OSError):  # something else came into it
                place.rmdir()
        raise


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success it takes the target's place, on failure it goes.

    An existing target survives any failure, a killed process included. A missing folder is made.

    Raises:
        OutputError: the folder cannot be made or written to, the target is a folder, or the disk is full.
    """
    check_output(target)
    part: Path | None = None
    try:
        with making_folder(target.parent):
            descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
            os.close(descriptor)
            part = Path(name)
            try:
                yield part
                part.chmod(usual_mode())
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        failed = "cannot write here" if part is None else "writing failed"
        raise OutputError(f"{target}: {failed}: {error.strerror or error}") from error


def usual_mode() -> int:
    """Permissions that a new file of this user has."""
    current = os.umask(0o077)
    os.umask(current)
    return 0o666 & ~current
