"""The converters: where each is found, and how it is told what to do."""

import os
import shlex
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from bilayer.export.convert import qairt_worker
from bilayer.export.convert.host import WORKER
from bilayer.export.options import ConversionTarget
from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.files.reading import is_file
from bilayer.runtime.process.subprocesses import run
from bilayer.runtime.vocabulary import SDK_HOST

_PACKAGE = "onnxruntime-qnn"
INSTALL_PACKAGE = "run: pip install 'bilayer[qairt]' (Linux x86-64, Python 3.11 or later)"
_SNPE, _QAIRT = "snpe-onnx-to-dlc", "qairt-converter"
_VARIABLES = {_SNPE: ("SNPE_ROOT",), _QAIRT: ("QAIRT_SDK_ROOT", "QNN_SDK_ROOT")}  # with the SDK's folder
_SNPE_1_32 = "-i --input_network --input_type --input_encoding --model_version"  # what counts of its usage
_TOOLS: dict[ConversionTarget, str] = {"qairt-sdk": _QAIRT, "snpe-1.32": _SNPE}
_USAGE_SECONDS = 60.0  # these tools import onnx before they print their usage


@dataclass(frozen=True)
class Job:
    """One network to convert, and where."""

    onnx_path: Path  # absolute
    folder: Path  # absolute; the tool runs there and writes there
    shown_onnx: Path  # the names that the user knows the files by
    shown_dlc: Path
    inputs: tuple[str, ...]  # of the network
    digest: str  # SHA-256 of the ONNX file
    soc_model: int
    stop: threading.Event | None  # that ends the tool

    @property
    def dlc_path(self) -> Path:
        """The file that a tool writes which takes a name for it."""
        return self.folder / "avatar.dlc"

    def show(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return the arguments with names in place of this machine's folders."""
        names = {
            arguments[0]: Path(arguments[0]).name,
            str(self.onnx_path): self.shown_onnx.name,
            str(self.dlc_path): self.shown_dlc.name,
            str(self.folder): ".",
        }
        return tuple(names.get(argument, argument) for argument in arguments)


@dataclass(frozen=True)
class Invocation:
    """A converter's command line, and what it must write."""

    tool: str
    version: str  # empty where only the file that it writes tells
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    dlc_version: int  # of the file that it must write
    missing_code: int | None = None  # exit code that says that it is not installed, after all


def package(job: Job) -> Invocation:
    """Return how to start the onnxruntime-qnn package, which writes a .dlc of some name into the folder.

    Raises:
        ToolMissingError: it is not installed.
    """
    with _not_made(job):
        _check_package()
    arguments = (*WORKER, str(job.onnx_path), str(job.folder), str(job.soc_model))
    return Invocation(_PACKAGE, metadata.version(_PACKAGE), arguments, os.environ, 4, qairt_worker.NOT_LOADED)


def qairt_sdk(job: Job) -> Invocation:
    """Return `qairt-converter` of the SDK under $QAIRT_SDK_ROOT or $QNN_SDK_ROOT, or else on PATH.

    Its options, and that it keeps the layout of inputs and outputs: docs.qualcomm.com/doc/80-63442-10, Qairt Converter.

    Raises:
        ToolMissingError: there is none.
    """
    by_hand = (_QAIRT, "--input_network", str(job.shown_onnx), "--output_path", str(job.shown_dlc))
    with _not_made(job):
        tool, environment = _find(_QAIRT, by_hand)
    arguments = (tool, "--input_network", str(job.onnx_path), "--output_path", str(job.dlc_path))
    return Invocation(_QAIRT, "", arguments, environment, 4)


def snpe_sdk(job: Job) -> Invocation:
    """Return `snpe-onnx-to-dlc` of the SDK under $SNPE_ROOT, or else on PATH; which options it has is asked with -h.

    Raises:
        ToolMissingError: there is none, or it does not start.
    """
    by_hand = snpe_arguments(_SNPE_1_32, job.shown_onnx, job.shown_dlc, job)
    with _not_made(job):
        tool, environment = _find(_SNPE, (_SNPE, *by_hand))
    log = job.folder / "usage.log"
    asked = run(
        (tool, "-h"), folder=job.folder, environment=environment, log=log, timeout=_USAGE_SECONDS, stop=job.stop
    )
    if asked.code != 0:
        way_out = "set up the SDK's Python (its bin/dependencies.sh and check_python_depends.sh) and try again"
        raise ToolMissingError(f"{tool} -h {asked.how}: {asked.last_line or 'no output'}; {way_out}")
    arguments = (tool, *snpe_arguments(asked.log, job.onnx_path, job.dlc_path, job))
    return Invocation(_SNPE, "", arguments, environment, 3)


def snpe_arguments(usage: str, onnx_path: Path, dlc_path: Path, job: Job) -> tuple[str, ...]:
    """Return what to tell an snpe-onnx-to-dlc whose usage is `usage`.

    From 1.32 on it is -i and -o (1.47's usage is printed in github.com/4knahs/snpe-docker, README.md), up to 1.27 it
    was -m/--model_path and -d/--dlc_path (the SDK's reference guide, Tools). Of `model_version` 64 characters are kept:
    the SHA-256 of the ONNX file, so that the .dlc says what it was made from.
    """
    old = "--model_path" in usage and "--input_network" not in usage
    arguments = ["-m" if old else "-i", str(onnx_path), "-d" if old else "-o", str(dlc_path)]
    for name in job.inputs:  # numbers, and not an image whose channels might be swapped
        arguments += ["--input_type", name, "opaque"] if "--input_type" in usage else []
        arguments += ["--input_encoding", name, "other"] if "--input_encoding" in usage else []
    arguments += ["--model_version", job.digest] if "--model_version" in usage else []
    return tuple(arguments)


def default_target(environment: Mapping[str, str] = os.environ) -> ConversionTarget:
    """Return the target of the SDK that is set up, or the package where none is.

    A QAIRT SDK's envsetup.sh may set SNPE_ROOT, too, so its own variables are looked at first.
    """
    if any(environment.get(variable) for variable in _VARIABLES[_QAIRT]):
        return "qairt-sdk"
    return "snpe-1.32" if any(environment.get(variable) for variable in _VARIABLES[_SNPE]) else "qairt"


def check_converter(target: ConversionTarget) -> None:
    """Raise a ToolMissingError, as an export does, unless what converts for a target is there; nothing is started."""
    if target == "qairt":
        _check_package()
    elif target in _TOOLS:
        _find(_TOOLS[target])


@contextmanager
def _not_made(job: Job) -> Iterator[None]:
    try:
        yield
    except ToolMissingError as error:
        raise ToolMissingError(f"{job.shown_dlc}: not made: {error}") from error


def _check_package() -> None:
    if find_spec("onnxruntime_qnn") is None:
        raise ToolMissingError(f"{_PACKAGE} is not installed; {INSTALL_PACKAGE}")


def _find(tool: str, by_hand: tuple[str, ...] = ()) -> tuple[str, dict[str, str]]:
    """Return the tool's path, and the environment that its SDK's bin/envsetup.sh would make.

    Raises:
        ToolMissingError: it is not there; names its variable, and the command `by_hand` for another machine, if any.
    """
    environment = dict(os.environ)
    for variable in _VARIABLES[tool]:
        if not environment.get(variable):
            continue
        root = Path(environment[variable]).absolute()
        path = root / "bin" / SDK_HOST / tool
        if not is_file(path) or not os.access(path, os.X_OK):
            what = "is not executable; run chmod +x on it" if is_file(path) else "is not there; correct the variable"
            raise ToolMissingError(f"${variable} is {root}, but {path} {what}")
        _prepend(environment, "PATH", path.parent)
        _prepend(environment, "LD_LIBRARY_PATH", root / "lib" / SDK_HOST)
        _prepend(environment, "PYTHONPATH", root / "lib" / "python")
        return str(path), environment
    found = shutil.which(tool)
    if found is None:
        elsewhere = f", or run where it is: {shlex.join(by_hand)}" if by_hand else ""
        raise ToolMissingError(f"{tool} is not installed; set ${_VARIABLES[tool][0]} to the SDK's folder{elsewhere}")
    return str(Path(found).absolute()), environment


def _prepend(environment: dict[str, str], variable: str, folder: Path) -> None:
    rest = environment.get(variable)
    environment[variable] = f"{folder}{os.pathsep}{rest}" if rest else str(folder)
