"""Which kind of network a file is: by its content, and only where that tells nothing by its name."""

from pathlib import Path
from typing import Literal

from bilayer.runtime.errors import InputError
from bilayer.runtime.files.kinds import kind_of

NetworkKind = Literal[".dlc", ".onnx", ".tflite"]

_BY_CONTENT: dict[str, NetworkKind] = {
    "a .dlc or another zip archive": ".dlc",
    "an ONNX network": ".onnx",
    "a TensorFlow Lite network": ".tflite",
}
_BY_NAME: dict[str, NetworkKind] = {kind: kind for kind in _BY_CONTENT.values()}


def network_kind(path: Path) -> NetworkKind | None:
    """Return the kind of network in a file; of a damaged one its name's, None where that tells nothing either.

    Raises:
        InputError: it cannot be read.
    """
    return _BY_CONTENT.get(kind_of(path)) or _BY_NAME.get(path.suffix)


def known_network_kind(path: Path) -> NetworkKind:
    """Return the kind of network in a file, or an InputError where it cannot be read or neither content nor name tells
    one.
    """
    kind = network_kind(path)
    if kind is None:
        raise InputError(
            f"{path}: expected a .dlc, an .onnx or a .tflite, found {kind_of(path)}; "
            "give one of these, or an avatar's folder"
        )
    return kind
