"""The switch from one avatar to the next: at every moment its .json names files that are there, all of one avatar.

A rename replaces one file, and an avatar has five. So its .json is replaced twice: first by one that names the new
files by passing names, `.STEM.XXXXXXXX.onnx`, beside the old ones; then, when those that the new avatar has no more are
gone, and the usual names are further names of the same files, by the one that names these. So all that a killed switch
leaves has passing names, or lies beside an avatar that still goes by such: the next one finds it.
"""

import os
import re
import secrets
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from bilayer.runtime.bundle import AVATAR, Contract, Files
from bilayer.runtime.bundle_names import BUNDLE_SUFFIXES, CONTRACT_SUFFIX
from bilayer.runtime.errors import InputError, OutputError
from bilayer.runtime.files.reading import list_folder
from bilayer.runtime.files.writing import check_output, holding_folder, publish

_KINDS = f"({'|'.join(re.escape(suffix) for suffix in BUNDLE_SUFFIXES if suffix != CONTRACT_SUFFIX)})"


def switch(draft: Path, out: Path, contract: Contract) -> None:
    """Move the files of a bundle, whose usual names lie in `draft`, beside `out`; those that it had before go.

    Raises:
        OSError: they cannot be written; the avatar that was there is there.
        OutputError: something else than a file lies where one goes; or they were, but by their passing names alone.
    """
    names = [file.name for file in contract.files.present]
    for name in (*names, f"{out.stem}.json"):
        check_output(out.with_name(name))
    passing = {name: f".{out.stem}.{secrets.token_hex(4)}{name.removeprefix(out.stem)}" for name in names}
    on_the_way = draft / "passing.json"
    on_the_way.write_text(replace(contract, files=_renamed(contract.files, passing)).to_json(), encoding="utf-8")
    for name in names:  # all that takes room is done before the first rename
        _link(draft / name, draft / passing[name])
    target = out.with_name(f"{out.stem}.json")
    with holding_folder(out.parent):
        former = _former_files(target)
        try:
            for name in passing.values():
                publish(draft / name, out.with_name(name))
            publish(on_the_way, target)
            _remove(out, former - set(names))
            try:
                for name in names:
                    publish(draft / name, out.with_name(name))
                publish(draft / target.name, target)
            except OSError as error:
                reason = error.strerror or error
                raise OutputError(f"{target}: the avatar is written, but not by its usual names: {reason}") from error
        finally:  # whatever happened, the .json says which files count
            _remove(out, (former | set(passing.values())) - _named_files(target) - set(names))


def _remove(out: Path, names: set[str]) -> None:
    for name in names:
        with suppress(OSError):
            out.with_name(name).unlink()


def _renamed(files: Files, names: dict[str, str]) -> Files:
    return Files(**{role: file and replace(file, name=names[file.name]) for role, file in vars(files).items()})


def _link(file: Path, name: Path) -> None:
    """A further name of a file; a copy of it where the file system has no such."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)


def _named_files(contract: Path) -> set[str]:
    """Names of the files that the avatar there has; none where there is no avatar."""
    with suppress(InputError):
        names = {file.name for file in AVATAR.read(contract).files.present}
        return {name for name in names if name.removeprefix(".").startswith(f"{contract.stem}.") and "/" not in name}
    return set()


def _former_files(contract: Path) -> set[str]:
    """Names of the files that the avatar there has, and of those that a killed switch left: passing ones, and where the
    avatar there goes by such, usual ones that no other avatar of the folder has."""
    found, beside = _named_files(contract), [path.name for path in list_folder(contract.parent)]
    stem, passing = re.escape(contract.stem), r"\.[0-9a-f]{8}"
    if any(name.startswith(".") for name in found):
        others = (contract.with_name(name) for name in beside if name.endswith(".json") and name != contract.name)
        theirs = {name for other in others for name in _named_files(other)}
        found |= {name for name in beside if re.fullmatch(stem + _KINDS, name)} - theirs
    return found | {name for name in beside if re.fullmatch(rf"\.{stem}{passing}{_KINDS}", name)}
