"""Reading a .dlc, Qualcomm's container of a converted network: version, metadata, graph, tensors and weights.

Container, graph and weights of v4 were read from real files of QAIRT 2.51 (the onnxruntime-qnn wheel); v3 follows the
public description only (v3.py). Files come from anywhere: a damaged one raises DlcError and costs bounded memory.

Kept by hand: the format is not published, and the vendor's own reader is in its SDK alone.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bilayer.export.dlc import v3, v4
from bilayer.export.dlc.container import read_header, read_members
from bilayer.export.dlc.graph import DlcGraph, DlcTensor
from bilayer.export.formats.stored import Stored, bytes_by_type, network_tables, quantised, shape_text, told_bytes
from bilayer.runtime.errors import DlcError
from bilayer.runtime.files.reading import FileKind, read_bytes

_MAX_METADATA_BYTES = 1 << 20
_MAX_METADATA_ENTRIES = 10_000
_MAX_METADATA_KEY = 1_000  # characters
# A layer that a few bytes point at may be listed a million times; a network of 10,000 layers lists some 3 MB
_MAX_LISTED = 16 << 20  # characters of all that the layers name
_ITEM = 100  # of them for each name: shape, type, punctuation

# "DLC is not compatible between SNPE1 and SNPE2": Qualcomm's SNPE1 to SNPE2 Migration Guide,
# docs.qualcomm.com/bundle/publicresource/80-63442-10/topics/snpe2_migration_guidelines.md
READABLE_BY = {
    3: "SNPE 1.25 to 1.x (not SNPE 2.x or QAIRT)",
    4: "SNPE 2.x and QAIRT (not SNPE 1.x)",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Dlc(DlcGraph):
    """What a .dlc file holds: a network, and what is known of the file."""

    name: str  # the file, for messages
    size: int  # bytes
    version: int  # 3 or 4
    minor: int
    metadata: Mapping[str, str]  # nested JSON as a.b.0.c

    @property
    def parameters(self) -> int:
        """How many constant numbers there are."""
        return sum(array.size for array in self.weights.values())

    @property
    def readable_by(self) -> str:
        """Which runtimes read a container of its version, in words."""
        return READABLE_BY[self.version]

    @cached_property
    def converter(self) -> str:
        """Tool that wrote it, or its whole command, as far as the file records it."""
        return self._find("converter-command", "converterCommand.tool")

    @cached_property
    def converter_version(self) -> str:
        """That tool's version; empty if not recorded."""
        return self._find("converter-version", "converterCommand.converterVersion")

    def _find(self, v3_key: str, v4_key: str) -> str:
        found = (value for key, value in self.metadata.items() if key == v3_key or key.endswith(v4_key))
        return next(found, "")


def read_dlc(path: Path | str) -> Dlc:
    """Return the .dlc at `path`, or a DlcError where it cannot be read, is damaged, too large, or neither v3 nor v4."""
    data = read_bytes(path, FileKind.DLC, DlcError)
    try:
        return parse_dlc(data, str(path))
    except DlcError as error:
        raise DlcError(f"{error}; give one as its converter wrote it, or convert the model again") from error


def parse_dlc(data: bytes, name: str) -> Dlc:
    """Return the .dlc file of these bytes, or a DlcError where they are damaged, too large, or neither v3 nor v4."""
    try:
        return _parse(data, name)
    except DlcError as error:
        raise DlcError(f"{name}: {error}") from error


def describe(dlc: Dlc) -> dict[str, Any]:
    """Return everything but the numbers, fit for JSON."""
    return {
        "file": dlc.name,
        "bytes": dlc.size,
        "version": f"{dlc.version}.{dlc.minor}",
        "readable_by": dlc.readable_by,
        "converter": dlc.converter,
        "converter_version": dlc.converter_version,
        "parameters": dlc.parameters,
        "inputs": [_described(tensor) for tensor in dlc.inputs],
        "outputs": [_described(tensor) for tensor in dlc.outputs],
        "layers": [
            {
                "name": node.name,
                "type": node.type,
                "inputs": list(node.inputs),
                "outputs": [_described(dlc.tensors[name]) for name in node.outputs],
                "weights": [_described(dlc.tensors[name]) for name in node.weights],
            }
            for node in dlc.nodes
        ],
        "bytes_by_type": bytes_by_type(stored_tensors(dlc)),
        "integers": [tensor.describe() for tensor in quantised(stored_tensors(dlc))],
        "metadata": dict(dlc.metadata),
    }


def as_text(dlc: Dlc) -> str:
    """Return tables for a terminal: the file, its inputs and outputs, its layers, and what is in integers."""
    tensors = stored_tensors(dlc)
    facts = [
        ("size", f"{dlc.size / 1e6:.2f} MB"),
        ("version", f"DLC v{dlc.version}.{dlc.minor}"),
        ("read by", dlc.readable_by),
        ("written by", f"{dlc.converter or 'not recorded'} {dlc.converter_version}".strip()),
        ("layers", str(len(dlc.nodes))),
        ("parameters", f"{dlc.parameters:,}"),
        ("weights", told_bytes(bytes_by_type(tensors))),
    ]
    ends = [("input", tensor) for tensor in dlc.inputs] + [("output", tensor) for tensor in dlc.outputs]
    layers = [
        (
            node.name,
            node.type,
            " ".join(_shown(dlc.tensors[name]) for name in node.outputs),
            " ".join(_shown(dlc.tensors[name]) for name in node.weights),
            sum(dlc.weights[name].size for name in node.weights) or "-",
        )
        for node in dlc.nodes
    ]
    told = [(end, tensor.name, tensor.shape, tensor.dtype or "-") for end, tensor in ends]
    return network_tables(dlc.name, facts, told, ["layer", "type", "output", "weights", "parameters"], layers, tensors)


def stored_tensors(dlc: Dlc) -> list[Stored]:
    """Return every constant, and every tensor in integers that is computed."""
    return [
        _stored(tensor, dlc.weights.get(name))
        for name, tensor in dlc.tensors.items()
        if name in dlc.weights or tensor.steps is not None
    ]


def _stored(tensor: DlcTensor, numbers: NDArray[np.generic] | None) -> Stored:
    kind = tensor.dtype.replace("ufixed", "uint").replace("sfixed", "int")
    what: Literal["weights", "computed"] = "computed" if numbers is None else "weights"
    size, steps = 0 if numbers is None else numbers.nbytes, tensor.steps
    if steps is None:
        return Stored(tensor.name, what, tensor.shape, kind, 0 if numbers is None else 8 * numbers.itemsize, size)
    axis = steps.axis if len(steps.scales) > 1 else None
    zeros = (-steps.offset,) * len(steps.scales)
    bits = min(max(steps.bits, 0), 64)  # a damaged file's may be anything
    return Stored(tensor.name, what, tensor.shape, kind, bits, size, steps.scales, zeros, axis)


def _parse(data: bytes, name: str) -> Dlc:
    members = read_members(memoryview(data))
    if "model" not in members:
        raise DlcError(f"expected a member named model, found {', '.join(members) or 'none'}")
    major, minor, model = read_header(members["model"], "model")
    if major not in READABLE_BY:
        raise DlcError(f"expected DLC version 3 or 4, found {major}")
    params = None
    if "model.params" in members:
        params_major, _, params = read_header(members["model.params"], "model.params")
        if params_major != major:
            raise DlcError(f"damaged: model has version {major}, model.params {params_major}")
    if major == 3:
        graph = v3.read_graph(model, params)
    else:
        graph = v4.read_graph(model, params, members.get("model.params.bin"))
    _check_extent(graph)
    metadata = _metadata(members)
    return Dlc(**vars(graph), name=name, size=len(data), version=major, minor=minor, metadata=metadata)


def _check_extent(graph: DlcGraph) -> None:
    listed = 0
    for node in graph.nodes:
        listed += sum(_ITEM + len(name) for name in (node.name, *node.inputs, *node.outputs, *node.weights))
        if listed > _MAX_LISTED:
            raise DlcError(f"damaged: its layers name more than {_MAX_LISTED >> 20} MiB of tensors")


def _metadata(members: Mapping[str, memoryview]) -> dict[str, str]:
    entries: dict[str, str] = {}
    for name, member in members.items():
        if not name.startswith("dlc.metadata"):
            continue
        if len(member) > _MAX_METADATA_BYTES:
            raise DlcError(f"member {name}: expected at most {_MAX_METADATA_BYTES} bytes, found {len(member)}")
        text = str(member, "utf-8", "replace")
        if name == "dlc.metadata":
            pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
            for key, _, value in itertools.islice(pairs, _MAX_METADATA_ENTRIES):
                entries[_printable(key)] = _printable(value)
            continue
        try:
            _flatten(json.loads(text), name.removeprefix("dlc."), entries)
        except (ValueError, RecursionError) as error:
            raise DlcError(f"member {name}: expected JSON that is not nested deeply") from error
    return entries


def _flatten(value: object, key: str, entries: dict[str, str]) -> None:
    if len(key) > _MAX_METADATA_KEY:
        raise RecursionError
    if isinstance(value, dict):
        for name, item in value.items():
            _flatten(item, f"{key}.{_printable(name)}", entries)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _flatten(item, f"{key}.{i}", entries)
    elif len(entries) < _MAX_METADATA_ENTRIES:
        entries[key] = _printable(str(value))


def _printable(text: str) -> str:
    """`text` without what could move a terminal's cursor or not be encoded."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _shown(tensor: DlcTensor) -> str:
    """A tensor's shape; of integers, their type too, and what a step of them is."""
    if tensor.steps is None:
        return shape_text(tensor.shape)
    scales = tensor.steps.scales
    how = f"a step {scales[0]:.3g}" if len(scales) == 1 else f"{len(scales)} scales"
    return f"{shape_text(tensor.shape)} ({tensor.dtype}, {how})"


def _described(tensor: DlcTensor) -> dict[str, Any]:
    """A tensor for JSON, with what its integers stand for where it has any."""
    return {name: value for name, value in asdict(tensor).items() if name != "steps" or value is not None}
