"""What an avatar's files are called: the avatar's own name, and a suffix for each.

Whatever file of it is named, the name is found by the longest suffix: me.fp16.tflite belongs to me, as me.dlc does.
"""

from pathlib import Path, PurePath

from bilayer.runtime.errors import InputError, OutputError
from bilayer.runtime.files.reading import is_file, is_folder, list_folder

CONTRACT_SUFFIX = ".json"
PREVIEW_SUFFIX = ".preview.png"  # not .png alone: `--out me.dlc` beside the photo me.png would replace it
SUFFIXES = {  # by their fields of `bundle.Files`
    "dlc": (".dlc",),
    "onnx": (".onnx",),
    "texture": (".safetensors",),
    "tflite": (".tflite",),
    "tflite_fp16": (".fp16.tflite",),
    "integers": (".w8a16.onnx", ".w8a8.onnx"),  # by the precision
    "pte_xnnpack": (".xnnpack.pte",),
    "pte_vulkan": (".vulkan.pte",),
    "coreml": (".mlpackage.zip",),
    "lids": (".lids.safetensors",),
    "preview": (PREVIEW_SUFFIX,),
}
BUNDLE_SUFFIXES = (*(suffix for some in SUFFIXES.values() for suffix in some), CONTRACT_SUFFIX)


def avatar_name(file: str | PurePath) -> str | None:
    """Return the avatar's name in that of one of its files, without folders; None where that has no such suffix."""
    name = PurePath(file).name
    fitting = [suffix for suffix in BUNDLE_SUFFIXES if name.endswith(suffix) and name != suffix]
    return name.removesuffix(max(fitting, key=len)) if fitting else None


def check_avatar_name(out: PurePath, name: str) -> None:
    """See that an avatar's files are its own by their names: those of me.fp16 would be me's as well.

    Raises:
        OutputError: they would not; `out` is what the user gave.
    """
    for suffix in BUNDLE_SUFFIXES:
        if (other := avatar_name(name + suffix)) != name:
            free = name.replace(".", "-")
            raise OutputError(
                f"{out}: an avatar named {name} would have the file {name}{suffix}, which is one of {other}'s; "
                f"name it {free}"
            )


def check_holds_no_avatar(folder: Path) -> None:
    """Raise an OutputError where an avatar lies in a folder: with other files beside it, it would not be found."""
    if is_folder(folder) and (contract := find_avatar(folder, OutputError)) is not None:
        raise OutputError(f"{folder}: holds the avatar {contract.name}, and is for no other files; name another place")


def find_avatar(folder: Path, error: type[InputError] = InputError) -> Path | None:
    """Return an avatar's contract in a folder, None where there is none; errors are `list_folder`'s."""
    contracts = list_folder(folder, f"*{CONTRACT_SUFFIX}", error)
    return next((contract for contract in contracts if is_file(contract.with_suffix(".onnx"))), None)
