"""ONNX -> .dlc by one of Qualcomm's converters, in a process of its own; what it wrote is read back and compared."""

import hashlib
import re
import shlex
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import onnx

from bilayer.export.convert import tools
from bilayer.export.convert.host import WORKER, PackageHost
from bilayer.export.convert.tools import INSTALL_PACKAGE, Invocation, Job, default_target
from bilayer.export.dlc.check import EndMatch, WeightReport
from bilayer.export.dlc.compare import compare_dlc
from bilayer.export.dlc.read import Dlc, parse_dlc
from bilayer.export.dlc.stamp import source_date, stamped
from bilayer.export.formats.onnx_file import read_model
from bilayer.export.options import ConversionTarget, ExportOptions
from bilayer.runtime.errors import ConversionError, DlcError, InputError, OutputError, ParityError, ToolMissingError
from bilayer.runtime.files.reading import FileKind, is_file, list_folder, read_bytes
from bilayer.runtime.files.writing import check_output, write_file
from bilayer.runtime.process.subprocesses import Finished, run

_ROUTES: dict[ConversionTarget, Callable[[Job], Invocation]] = {
    "qairt": tools.package,
    "qairt-sdk": tools.qairt_sdk,
    "snpe-1.32": tools.snpe_sdk,
}
# What ONNX Runtime's QNN provider logs of nodes that it leaves out
_UNSUPPORTED = re.compile(r"Unsupported nodes in QNN EP: (.+)")
_NODE = re.compile(r"name: ([^,{}]*), type: (\w+)")


@dataclass(frozen=True)
class ConvertOptions:
    """How to convert; the defaults suit an avatar."""

    timeout: float = 300.0  # seconds; an avatar takes 1 to 20
    # QNN's number of the SoC whose NPU says which operators there are: 36 is SM8450. The file is the same for all.
    soc_model: int = 36
    place: Path | None = None  # folder where the files will be in the end, for messages and the log
    stop: threading.Event | None = None  # once it is set, the tool is killed and CancelledError raised
    host: PackageHost | None = None  # converts by the package from one process, where there are many networks
    written: int | None = field(default_factory=source_date)  # s since 1970, in place of the clock's; None: the clock's


@dataclass(frozen=True, eq=False)
class Conversion:
    """A network that was converted and read back, and the tool that did it."""

    target: ConversionTarget
    tool: str
    tool_version: str
    arguments: tuple[str, ...]  # as started, paths shortened to names
    seconds: float  # of the tool alone
    dlc_version: int
    readable_by: str
    weights: WeightReport
    ends: tuple[EndMatch, ...]  # inputs, then outputs


def chosen_target(options: ExportOptions) -> ConversionTarget:
    """Return the target that an export names, else the default: in integers the package, whatever is set up.

    What SDKs' converters make of integers that were chosen here has not been tried: see INTEGER_TARGETS.
    """
    return options.target or (default_target() if options.precision == "fp32" else "qairt")


def convert_onnx(
    onnx_path: str | Path,
    dlc_path: str | Path,
    target: ConversionTarget = "qairt",
    options: ConvertOptions | None = None,
) -> Conversion:
    """Convert `onnx_path` and put the result at `dlc_path`, or raise and leave what was there.

    The file is read back: its version must be the target's, its weights those of the ONNX model to the bit, its layers,
    their settings and edges, its inputs and outputs the same. When a tool fails, what it printed is kept as
    `<dlc_path>.log`.

    Raises:
        InputError: the ONNX file cannot be used.
        ToolMissingError: the converter is not installed; the message has the command to run.
        ConversionError: it refused, crashed, took too long, or wrote nothing that reads back.
        ParityError: the file is not the model: a weight, a layer, a setting, an edge, an input or output differs.
        OutputError: `dlc_path` cannot be written.
    """
    onnx_path, dlc_path, options = Path(onnx_path), Path(dlc_path), options or ConvertOptions()
    if target not in _ROUTES:
        raise InputError(f"target: expected one of {', '.join(_ROUTES)}, found {target}")
    model = read_model(onnx_path).proto
    check_output(dlc_path)
    # Errors are ignored: a stray child of the tool may still be writing there
    with tempfile.TemporaryDirectory(prefix="bilayer-convert-", ignore_cleanup_errors=True) as folder:
        job = _job(onnx_path, dlc_path, model, Path(folder), options)
        invocation = _ROUTES[target](job)
        finished, data = _run(invocation, job, options)
        data = _pinned(data, options.written)
        dlc = _read_back(invocation, job, finished, data)
        try:
            report = compare_dlc(dlc, model)
        except ParityError as error:
            raise ParityError(f"{error}; {invocation.tool} changed the model, so its file was not kept") from error
        write_file(dlc_path, data)
    version = " of QAIRT ".join(filter(None, (invocation.version, dlc.converter_version))) or "unknown"
    return Conversion(
        target=target,
        tool=invocation.tool,
        tool_version=version,
        arguments=job.show(invocation.arguments),
        seconds=finished.seconds,
        dlc_version=dlc.version,
        readable_by=dlc.readable_by,
        weights=report.weights,
        ends=report.ends,
    )


def _job(onnx_path: Path, dlc_path: Path, model: onnx.ModelProto, folder: Path, options: ConvertOptions) -> Job:
    initializers = {tensor.name for tensor in model.graph.initializer}
    return Job(
        onnx_path=onnx_path.absolute(),
        folder=folder,
        shown_onnx=onnx_path if options.place is None else options.place / onnx_path.name,
        shown_dlc=dlc_path if options.place is None else options.place / dlc_path.name,
        inputs=tuple(value.name for value in model.graph.input if value.name not in initializers),
        digest=hashlib.sha256(read_bytes(onnx_path, FileKind.ONNX)).hexdigest(),
        soc_model=options.soc_model,
        stop=options.stop,
    )


def _run(invocation: Invocation, job: Job, options: ConvertOptions) -> tuple[Finished, bytes]:
    """Run the converter: returns how it ended, and the bytes of the file that it wrote."""
    log, ours = job.folder / "tool.log", len(WORKER)
    host = options.host if invocation.arguments[:ours] == WORKER else None
    finished = run(
        invocation.arguments,
        folder=job.folder,
        environment=invocation.environment,
        log=log,
        timeout=options.timeout,
        stop=job.stop,
        fork=None if host is None else partial(host.start, invocation.arguments[ours:], log),
    )
    if finished.code is not None and finished.code == invocation.missing_code:
        reason = f"{invocation.tool} {finished.last_line}; {INSTALL_PACKAGE}"
        raise ToolMissingError(f"{job.shown_dlc}: not made: {reason}")
    if finished.code != 0:
        raise _failure(invocation, job, finished, f"{finished.how}: {_reason(finished)}")
    files = list_folder(job.folder, "*.dlc")
    if len(files) != 1 or not is_file(files[0]):
        raise _failure(invocation, job, finished, f"ended well but wrote {len(files) or 'no'} .dlc files")
    return finished, read_bytes(files[0], FileKind.DLC, ConversionError)


def _pinned(data: bytes, seconds: int | None) -> bytes:
    try:
        return data if seconds is None else stamped(data, seconds)
    except DlcError:  # which is told where it is read back
        return data


def _read_back(invocation: Invocation, job: Job, finished: Finished, data: bytes) -> Dlc:
    try:
        dlc = parse_dlc(data, str(job.shown_dlc))
    except DlcError as error:
        reason = str(error).removeprefix(f"{job.shown_dlc}: ")
        raise _failure(invocation, job, finished, f"wrote a file that does not read back: {reason}") from error
    if dlc.version != invocation.dlc_version:
        found = f"wrote a DLC v{dlc.version} in place of v{invocation.dlc_version}: for {dlc.readable_by}"
        raise _failure(invocation, job, finished, f"{found}; use the SDK of your runtime, or its target")
    return dlc


def _reason(finished: Finished) -> str:
    """Return why it failed: the nodes that ONNX Runtime left out, or the tool's last line."""
    unsupported = _UNSUPPORTED.findall(finished.log)
    nodes = _NODE.findall(unsupported[-1]) if unsupported else []
    if nodes:
        return "QNN does not run " + ", ".join(f"{name} ({operator})" for name, operator in nodes[:5])
    return finished.last_line or "it printed nothing"


def _failure(invocation: Invocation, job: Job, finished: Finished, what: str) -> ConversionError:
    """Keep what the tool printed beside the .dlc, and return the error to raise."""
    log = job.shown_dlc.with_name(f"{job.shown_dlc.name}.log")
    kept = f"; what it printed: {log}"
    try:
        write_file(log, f"$ {shlex.join(invocation.arguments)}\n{finished.log}\n{finished.how}\n")
    except OutputError:
        kept = ""
    return ConversionError(f"{job.shown_dlc}: not made: {invocation.tool} {what}{kept}")
