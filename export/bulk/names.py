"""Names of avatars' folders: each is a folder of its own, and of no file that a run keeps."""

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath

from bilayer.runtime.errors import InputError

# Bytes of a folder's name, which .json follows in the records: file systems have 255; and of all, of which stores have
# 1,024 with what stands before and behind it
MOST_OF_ONE, MOST = 250, 900
_WAY_OUT = "or give names in a manifest (docs/bulk.md)"


def check_names(place: str, named_photos: Sequence[tuple[str, str]], own: Collection[str] = ()) -> None:
    """See that each photo's name can be a folder beside those of the others.

    Args:
        place: where the photos are from, for messages.
        named_photos: each photo and its name.
        own: names of what a run keeps beside the folders.

    Raises:
        InputError: a name is none of folders, too long, the run's own or another's, or leads through a file.
    """
    photos: dict[str, str] = {}  # by name, folded
    for photo, name in named_photos:
        check_name(f"{place}: {photo}", name)
        if PurePath(name).parts[0].lower() in own:
            raise InputError(
                f"{place}: {photo} would be {name}, where the run keeps its own files; rename it, {_WAY_OUT}"
            )
        if (folded := _folded(name)) in photos:
            raise InputError(f"{place}: {photos[folded]} and {photo} would both be {name}; rename one, {_WAY_OUT}")
        photos[folded] = photo
    for photo, name in named_photos:
        if (other := _whose_file(name, photos)) is not None:
            raise InputError(
                f"{place}: {photo} would be {name}, where a file of {other}'s avatar or record lies in the way; "
                f"rename one, {_WAY_OUT}"
            )


def check_name(where: str, name: str) -> None:
    """Raise an InputError, which begins with `where`, unless an avatar's folder can be called `name`."""
    parts = PurePath(name).parts
    unfit = name.startswith("/") or ".." in parts or any(part.startswith(".") for part in parts)
    if not parts or unfit or any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in name):
        # Control letters break lines and terminals; halves of a pair are what is no UTF-8, which ONNX Runtime
        # does not open
        found = with_escapes(name[:60])
        found = f"'{found}'" if found.isprintable() else repr(found)
        in_words = f"expected a name of folders, found {found}"
        if with_escapes(name) != name:
            in_words += ", which is no UTF-8"
        raise InputError(f"{with_escapes(where)}: {in_words}; rename it, {_WAY_OUT}")
    longest, whole = max(map(_bytes, parts)), _bytes(name)
    if longest > MOST_OF_ONE or whole > MOST:
        raise InputError(
            f"{where[:200]}: expected a name of at most {MOST_OF_ONE} bytes a folder, {MOST} in all, found {longest} "
            f"and {whole}; rename it, {_WAY_OUT}"
        )


def with_escapes(name: str) -> str:
    """Return a name that can be written as UTF-8: bytes of a file's name that are none as \\xe9."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a pair that stands for no byte: a manifest's
        return name.encode("utf-8", "backslashreplace").decode()


def _whose_file(name: str, photos: Mapping[str, str]) -> str | None:
    """The photo of which a file, of its avatar or its record, lies where a folder of `name` would have to."""
    parts = _folded(name).split("/")
    for depth in range(1, len(parts)):
        above = "/".join(parts[:depth])
        if parts[depth].startswith("avatar.") and above in photos:
            return photos[above]
        if above.endswith(".json") and above.removesuffix(".json") in photos:  # its record's name
            return photos[above.removesuffix(".json")]
    return None


def _folded(name: str) -> str:
    """The same for names that are one on some file system: of another case, or composed otherwise."""
    return unicodedata.normalize("NFC", name).lower()


def _bytes(name: str) -> int:
    return len(name.encode())
