"""Qualcomm's SDK on this machine: what of it goes to the device, and what reads the logs here."""

import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bilayer.runtime.errors import InputError, ToolMissingError
from bilayer.runtime.files.reading import FileKind, is_file, is_folder, list_folder, open_file, read_text
from bilayer.runtime.vocabulary import SDK_HOST

VARIABLES = ("SNPE_ROOT", "QAIRT_SDK_ROOT", "QNN_SDK_ROOT")
_AARCH64 = 183  # e_machine in an ELF header
_VERSION = re.compile(r"\d+\.\d+\.\d+(?:\.\d+)?")

Era = Literal["1.x", "2.x"]


@dataclass(frozen=True)
class Sdk:
    """An SDK that has programs for 64-bit Android."""

    variable: str  # the environment variable that led here
    root: Path
    target: str  # its folder of Android's programs: aarch64-android-clang6.0 in 1.x, aarch64-android in 2.x

    @property
    def era(self) -> Era:
        """Which generation: 1.x names the compiler in its folders."""
        return "2.x" if self.target == "aarch64-android" else "1.x"

    @property
    def version(self) -> str:
        """The SDK's version by its folder's name or its sdk.yaml; empty if neither has it: the device's log does."""
        named = _VERSION.search(self.root.name)
        if named:
            return named[0]
        try:
            described = _VERSION.search(read_text(self.root / "sdk.yaml", FileKind.SETTINGS))
        except InputError:
            return ""
        return described[0] if described else ""

    def program(self, name: str) -> Path:
        """Return the path of the SDK's program `name` for the device, or raise a ToolMissingError where it has none."""
        return self._existing(self.root / "bin" / self.target / name)

    def has(self, name: str) -> bool:
        """Tell whether the SDK has the program `name` for the device."""
        return is_file(self.root / "bin" / self.target / name)

    def host_tool(self, name: str) -> Path:
        """Return the SDK's program `name` for this machine, or raise a ToolMissingError where none can run."""
        path = self._existing(self.root / "bin" / SDK_HOST / name)
        if not os.access(path, os.X_OK):
            raise ToolMissingError(f"{path}: is not executable; run chmod +x on it")
        return path

    def host_environment(self) -> dict[str, str]:
        """Return this process's environment with what the SDK's bin/envsetup.sh sets for its programs here."""
        environment = dict(os.environ)
        for variable, folder in (("PATH", "bin"), ("LD_LIBRARY_PATH", "lib")):
            rest = environment.get(variable)
            own = str(self.root / folder / SDK_HOST)
            environment[variable] = f"{own}{os.pathsep}{rest}" if rest else own
        return environment

    def libraries(self, names: tuple[str, ...], optional: tuple[str, ...] = ()) -> list[Path]:
        """Return libraries for the device; of those that are `optional` the ones that there are. Patterns may be given.

        Raises:
            ToolMissingError: one that is needed is not in this SDK.
        """
        folder = self.root / "lib" / self.target
        needed = [self._existing(folder / name) for name in names]
        more = [path for pattern in optional for path in list_folder(folder, pattern) if is_file(path)]
        return sorted({*needed, *more})

    def skels(self, pattern: str) -> list[Path]:
        """Return Hexagon's own unsigned libraries (2.x), of each of its versions, or raise a ToolMissingError."""
        versions = [folder / "unsigned" for folder in list_folder(self.root / "lib", "hexagon-v*")]
        found = [path for folder in versions if is_folder(folder) for path in list_folder(folder, pattern)]
        return found or [self._existing(self.root / "lib" / "hexagon-vNN" / "unsigned" / pattern)]

    def _existing(self, path: Path) -> Path:
        if not is_file(path):
            raise ToolMissingError(
                f"{path}: not there; ${self.variable} is {self.root}: install the whole SDK, or set it to one with it"
            )
        return path


def find_sdk(environment: Mapping[str, str] = os.environ) -> Sdk:
    """Return the SDK of $SNPE_ROOT, or else of $QAIRT_SDK_ROOT or $QNN_SDK_ROOT.

    Raises:
        ToolMissingError: none is set, or it has nothing for 64-bit Android.
    """
    for variable in VARIABLES:
        if not environment.get(variable):
            continue
        root = Path(environment[variable]).absolute()
        # Of several compilers, clang before gcc, and the newest
        found = sorted(_compilers(root), key=lambda path: ("clang" in path.name, path.name))
        if not found:
            raise ToolMissingError(
                f"${variable} is {root}: has no bin/aarch64-android*; set it to the SDK's own folder"
            )
        return Sdk(variable, root, found[-1].name)
    raise ToolMissingError(
        "no SDK: set $SNPE_ROOT (SNPE 1.x or 2.x) or $QAIRT_SDK_ROOT to its folder; "
        "Qualcomm has it for registered users"
    )


def _compilers(root: Path) -> list[Path]:
    folder = root / "bin"
    return list_folder(folder, "aarch64-android*") if is_folder(folder) else []


def is_android_program(path: Path) -> bool:
    """Tell whether a file is an ELF program for 64-bit ARM: no stand-in script, and nothing of this machine's."""
    with open_file(path, FileKind.PROGRAM) as file:
        header = file.read(20)
    return len(header) == 20 and header[:5] == b"\x7fELF\x02" and struct.unpack_from("<H", header, 18)[0] == _AARCH64
