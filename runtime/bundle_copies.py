"""An avatar by its URL: its files fetched from a store, and removed when they have been used."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from bilayer.runtime.bundle import AVATAR, check_kind, kinds_of_files
from bilayer.runtime.bundle_names import CONTRACT_SUFFIX, avatar_name
from bilayer.runtime.errors import BundleError
from bilayer.runtime.files.copies import Copies, copying
from bilayer.runtime.files.kinds import describe_head
from bilayer.runtime.files.reading import FileKind, StrPath
from bilayer.runtime.files.stores import find_below, holds, is_url, join, read_head


@contextmanager
def bundle_here(place: StrPath) -> Iterator[tuple[Path, Copies]]:
    """Yield the path of an avatar, and what calls it by its URL: itself, or a copy that goes at the block's end.

    Of a store the contract is fetched, and what it names beside it; `read_bundle` says whether they are right.

    Raises:
        BundleError: none is there, or a file of it is missing, too large or cannot be read; errors inside are told
            by their URLs.
        ToolMissingError: the package for such URLs is not installed.
    """
    with copying() as copies:
        if not is_url(str(place)):
            yield Path(place), copies
            return
        contract = _contract(str(place))
        folder = contract.rpartition("/")[0]
        below = PurePosixPath(folder.partition("://")[2]).name or "avatar"
        copies.name(copies.folder / below, folder)
        copy = copies.fetch(contract, below, FileKind.SETTINGS, BundleError)
        for file, kind in kinds_of_files(AVATAR.read(copy)):
            if file.name in ("", ".", "..", copy.name) or PurePosixPath(file.name).name != file.name:
                raise BundleError(f"{copy}: files.{file.name}: expected a name in the avatar's own folder")
            copies.fetch(join(folder, file.name), below, kind, BundleError)
        yield copy, copies


def _contract(place: str) -> str:
    found = {below: url for url, below in find_below(place) if "/" not in below}
    if list(found) == [""]:
        name = avatar_name(place)
        beside = None if name is None else f"{place.rpartition('/')[0]}/{name}{CONTRACT_SUFFIX}"
        check_kind(place, describe_head(read_head(place, BundleError)), beside if beside and holds(beside) else None)
        return place
    contracts = [below for below in found if below.endswith(".json")]
    if len(contracts) != 1:
        names = ", ".join(contracts)
        way_out = "name the file" if contracts else "give a folder that bilayer-export wrote, or its avatar.json"
        raise BundleError(f"{place}: expected one .json of an avatar in it, found {names or 'none'}; {way_out}")
    return found[contracts[0]]
