"""Which kind of network a file is: by its content, and only where that tells nothing by its name."""

from pathlib import Path
from typing import Literal

from bilayer.runtime.errors import InputError
from bilayer.runtime.files.kinds import DATA, EMPTY, ONNX, TEXT, TFLITE, ZIP, kind_of
from bilayer.runtime.files.reading import is_folder

NetworkKind = Literal[".dlc", ".onnx", ".tflite"]

_BY_CONTENT: dict[str, NetworkKind] = {ZIP: ".dlc", ONNX: ".onnx", TFLITE: ".tflite"}
_BY_NAME: dict[str, NetworkKind] = {kind: kind for kind in _BY_CONTENT.values()}
_CALLED: dict[str, str] = {".dlc": "a .dlc file", ".onnx": "an ONNX model", ".tflite": "a .tflite"}
# What no network is, whatever its name, and what to do about it
_NO_NETWORK = {EMPTY: "copy it again, or write it anew", TEXT: "name the network's own file, or write it anew"}


def network_kind(path: Path) -> NetworkKind | None:
    """Return the kind of network in a file, of a damaged one its name's; None of another kind of file or name.

    Raises:
        InputError: it cannot be read, or has the name of a network and is empty, or text.
    """
    kind = kind_of(path)
    if kind in _NO_NETWORK and path.suffix in _BY_NAME:
        raise InputError(f"{path}: not {_CALLED[path.suffix]}: found {kind}; {_NO_NETWORK[kind]}")
    return _BY_CONTENT.get(kind) or (_BY_NAME.get(path.suffix) if kind == DATA else None)


def known_network_kind(path: Path) -> NetworkKind:
    """Return the kind of network in a file, or an InputError where it cannot be read, or content and name tell none."""
    kind = network_kind(path)
    if kind is None:
        raise InputError(
            f"{path}: expected a .dlc, an .onnx or a .tflite, found {kind_of(path)}; "
            "give one of these, or an avatar's folder"
        )
    return kind


def check_network_file(path: Path) -> NetworkKind | None:
    """Return `network_kind` of a file that a target's rules are asked about, before onnx is loaded.

    Raises:
        InputError: it cannot be read, or is neither an .onnx nor a .tflite; a damaged one, or of another name, may be.
    """
    if is_folder(path):
        raise InputError(f"{path}: is a folder; name an .onnx or a .tflite, such as the avatar.onnx in an avatar's")
    kind, found = network_kind(path), kind_of(path)
    if kind == ".dlc" or (kind is None and found != DATA):
        way_out = "bilayer-export --inspect looks into it" if kind else "name one, such as the avatar.onnx of an avatar"
        raise InputError(f"{path}: expected an .onnx or a .tflite, found {found}; {way_out}")
    return kind
