"""An avatar's .onnx as the two files that ncnn reads, made by pnnx and kept in the cache: a second load finds them.

In the cache lie `ncnn/pnnx-VERSION/SHA256.{param,bin,json}`: named by the hash of the .onnx, the .json written last.
It holds the network's inputs and outputs, which ncnn only numbers, and the hashes of the other two.
"""

import importlib.metadata
import importlib.util
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from bilayer.runtime.bundle import BundledFile, Contract, describe_file
from bilayer.runtime.engines.base import IoSpec, check_ends, reading
from bilayer.runtime.engines.onnx_runtime import make_session, session_ends
from bilayer.runtime.errors import ConversionError, InputError, ToolMissingError
from bilayer.runtime.files.reading import FileKind, is_file, read_bytes
from bilayer.runtime.files.released import cache_folder, keep
from bilayer.runtime.process.subprocesses import run
from bilayer.runtime.typed_json import read_content, typed

TIMEOUT = 300  # s; a medium avatar takes 2
# No rounding of the stored weights: ncnn rounds when it loads them, if it is told to
OPTIONS = ("fp16=0", "optlevel=2")


@dataclass(frozen=True)
class NcnnNetwork:
    """A converted network. Its inputs and outputs are called in0, out0, out1, ... in the order of `ends`."""

    param: Path  # layers
    weights: Path
    ends: IoSpec  # as in the .onnx


@dataclass(frozen=True)
class _Record:
    ends: IoSpec
    files: list[BundledFile]  # .param and .bin


def ncnn_network(onnx: Path, contract: Contract) -> NcnnNetwork:
    """Return the network of an avatar's .onnx for ncnn: from the cache, or converted now.

    Raises:
        BundleError: not a network, or not the contract's.
        ConversionError: pnnx refuses it.
        ToolMissingError: pnnx is not installed.
        OutputError: the cache cannot be written.
    """
    program, version = _find_pnnx()
    sha256 = reading(onnx, lambda: describe_file(onnx).sha256)
    stem = cache_folder() / "ncnn" / f"pnnx-{version}" / sha256
    network = _cached(stem)
    if network is None:
        ends = reading(onnx, lambda: session_ends(make_session(onnx, optimised=False)))
        check_ends(onnx, contract, ends)
        with tempfile.TemporaryDirectory(prefix="bilayer-pnnx-") as folder:
            _convert(onnx, Path(folder), program, version)
            network = _store(Path(folder), ends, stem)
    return network


def _find_pnnx() -> tuple[Path, str]:
    """Its program, without importing the package, which would import torch."""
    spec = importlib.util.find_spec("pnnx")
    if spec is None or not spec.submodule_search_locations:
        raise ToolMissingError("engine ncnn: its converter pnnx is not installed; pip install 'bilayer[ncnn]'")
    folder = Path(next(iter(spec.submodule_search_locations)))
    return folder / ("pnnx.exe" if sys.platform == "win32" else "pnnx"), importlib.metadata.version("pnnx")


def _convert(onnx: Path, folder: Path, program: Path, version: str) -> None:
    """Make network.ncnn.param and network.ncnn.bin in `folder`."""
    (folder / "network.onnx").write_bytes(read_bytes(onnx, FileKind.ONNX))  # pnnx writes its files beside what it reads
    command = [str(program), "network.onnx", *OPTIONS]
    done = run(command, folder=folder, environment=os.environ, log=folder / "log", timeout=TIMEOUT)
    missing = [name for name in ("param", "bin") if not is_file(folder / f"network.ncnn.{name}")]
    if done.code != 0 or missing:
        how = done.how if done.code != 0 else f"left no .{missing[0]}"
        raise ConversionError(
            f"{onnx}: pnnx {version} {how} ({done.last_line or 'no message'}); choose another --engine"
        )


def _store(folder: Path, ends: IoSpec, stem: Path) -> NcnnNetwork:
    for suffix in (".param", ".bin"):
        keep(stem.with_suffix(suffix), read_bytes(folder / f"network.ncnn{suffix}", FileKind.ONNX))
    record = _Record(ends, [describe_file(stem.with_suffix(suffix)) for suffix in (".param", ".bin")])
    keep(stem.with_suffix(".json"), f"{json.dumps(asdict(record), indent=2, allow_nan=False)}\n".encode())
    return NcnnNetwork(stem.with_suffix(".param"), stem.with_suffix(".bin"), ends)


def _cached(stem: Path) -> NcnnNetwork | None:
    """What an earlier conversion left; None where there is none, or it is damaged."""
    param, weights = stem.with_suffix(".param"), stem.with_suffix(".bin")
    try:
        record = typed(_Record, read_content(stem.with_suffix(".json")), "cache")
        if record.files != [describe_file(file) for file in (param, weights)]:
            return None
    except (InputError, OSError):
        return None
    return NcnnNetwork(param, weights, record.ends)
