"""Writing an avatar's bundle: every file is complete and checked before any of them is seen."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx
from PIL import Image
from safetensors.numpy import save

from bilayer.export.convert.host import PackageHost
from bilayer.export.convert.run import Conversion, ConvertOptions, convert_onnx
from bilayer.export.options import ConversionTarget
from bilayer.export.switch import switch
from bilayer.runtime.arrays import Floats
from bilayer.runtime.bundle import Bundle, Contract, Files, describe_file, read_bundle
from bilayer.runtime.bundle_names import PREVIEW_SUFFIX, SUFFIXES
from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.files.writing import drafting
from bilayer.runtime.provenance import DlcInfo
from bilayer.runtime.sampler.grid_sample import pack_texture
from bilayer.runtime.vocabulary import IntegerPrecision


@dataclass(frozen=True, eq=False)
class BundleParts:
    """What goes into a bundle beside its network."""

    contract: Callable[..., Contract]  # all of it but `files` and `dlc`
    texture: Floats  # (3, T, T)
    preview: Image.Image
    further: Mapping[str, bytes] = field(default_factory=dict)  # by their fields of the contract


@dataclass(frozen=True, eq=False)
class BundleDraft:
    """A bundle whose network is being converted, in a folder beside its place."""

    out: Path
    folder: Path  # gone after the `with`
    networks: dict[str, str]  # names of the ONNX files there, by their fields of the contract
    conversion: Future[Conversion] | None  # None: no .dlc was asked for


@contextmanager
def draft_bundle(
    proto: onnx.ModelProto,
    out: Path,
    target: ConversionTarget,
    integers: Mapping[IntegerPrecision, onnx.ModelProto] | None = None,
    host: PackageHost | None = None,
) -> Iterator[BundleDraft]:
    """Convert the network while the block goes on; what is not written by its end is dropped, and a converter stopped.

    Args:
        proto: in float32.
        out: where the .dlc comes to be.
        target: what converts.
        integers: the network in integers by its precision, if any: written, too, and converted in `proto`'s place.
        host: see `ConvertOptions`.

    Raises:
        OutputError: nothing can be written beside `out`.
    """
    stop = threading.Event()
    with drafting(out) as folder, ThreadPoolExecutor(1) as beside:
        try:
            networks, conversion = {"onnx": f"{out.stem}.onnx"}, None
            (folder / networks["onnx"]).write_bytes(proto.SerializeToString(deterministic=True))
            for precision, rounded in (integers or {}).items():
                networks["integers"] = f"{out.stem}.{precision}.onnx"
                (folder / networks["integers"]).write_bytes(rounded.SerializeToString(deterministic=True))
            if target not in ("none", "litert"):
                options = ConvertOptions(place=out.parent, stop=stop, host=host)
                converted = folder / [*networks.values()][-1]
                conversion = beside.submit(convert_onnx, converted, folder / out.name, target, options)
            yield BundleDraft(out, folder, networks, conversion)
        finally:
            stop.set()


def write_bundle(
    parts: BundleParts, draft: BundleDraft, check: Callable[[Bundle], None] | None = None
) -> tuple[Bundle, ToolMissingError | None]:
    """Await the conversion, write the rest beside it, let `check` read it as a user would, and move it into place.

    Returns:
        the bundle; and, where it has no .dlc because the target's converter is not installed, the error that says so.

    Raises:
        OutputError: the files cannot be written.
        BilayerError: the network was not converted, see `convert_onnx`; or what `check` raises.
    """
    out, folder, conversion, missing = draft.out, draft.folder, None, None
    names = {**draft.networks, "texture": f"{out.stem}.safetensors", "preview": f"{out.stem}{PREVIEW_SUFFIX}"}
    texture = {"texture": pack_texture(parts.texture)}
    (folder / names["texture"]).write_bytes(save(texture))  # `save_file` has its own errors for a full disk
    parts.preview.save(folder / names["preview"], compress_level=4)  # half the time of 6, and 2 % larger
    for role, content in parts.further.items():
        (suffix,) = SUFFIXES[role]
        names[role] = f"{out.stem}{suffix}"
        (folder / names[role]).write_bytes(content)
    try:
        conversion = draft.conversion.result() if draft.conversion else None
    except ToolMissingError as error:
        missing = error
    files: dict[str, Any] = {role: describe_file(folder / name) for role, name in names.items()}
    files["dlc"] = None if conversion is None else describe_file(folder / out.name)
    contract = parts.contract(files=Files(**files), dlc=None if conversion is None else _describe(conversion))
    (folder / f"{out.stem}.json").write_text(contract.to_json(), encoding="utf-8")
    drafted = read_bundle(folder / f"{out.stem}.json")
    if check is not None:
        check(drafted)
    switch(folder, out, contract)
    with suppress(OSError):
        out.with_name(f"{out.name}.log").unlink()  # of an earlier conversion that failed
    return replace(drafted, folder=out.parent), missing  # the same files, by other names


def _describe(conversion: Conversion) -> DlcInfo:
    layouts = {end.layout for end in conversion.ends if end.layout}  # of the picture-shaped outputs
    return DlcInfo(
        target=conversion.target,
        tool=f"{conversion.tool} {conversion.tool_version}".strip(),
        container=conversion.dlc_version,
        readable_by=conversion.readable_by,
        layout=" and ".join(sorted(layouts)) or "unknown",
    )
