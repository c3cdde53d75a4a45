"""Places to write to that are looked at before the work: those of more than one file, or of one kind of file."""

from collections.abc import Iterable
from pathlib import Path

from bilayer.runtime.errors import OutputError
from bilayer.runtime.files.reading import StrPath, is_folder
from bilayer.runtime.files.writing import check_new_folder, check_output
from bilayer.runtime.vocabulary import VIDEO_SUFFIXES


def check_outside(folder: Path, read: Iterable[StrPath | None]) -> None:
    """See that no file that is read lies in a folder that is replaced as a whole; None is no file.

    Raises:
        OutputError: one does.
    """
    place = folder.resolve()
    for path in read:
        if path is not None and place in (given := Path(path).resolve(), *given.parents):
            raise OutputError(f"{folder}: {path} is read here, and would go with it; name another place")


def check_video(out: Path) -> None:
    """Raise an OutputError unless `out` names an .mp4, a .gif or a new folder for PNGs that can be written."""
    if is_for_pngs(out):
        check_new_folder(out)
    elif out.suffix.lower() in VIDEO_SUFFIXES:
        check_output(out)
    else:
        raise OutputError(f"{out}: expected .mp4, .gif, or a folder's name for PNGs; found {out.suffix.lower()}")


def is_for_pngs(out: Path) -> bool:
    """Return whether frames go to `out` as PNGs: it has no suffix, or is a folder, whatever its name."""
    return not out.suffix or is_folder(out)
