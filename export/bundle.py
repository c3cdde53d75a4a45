"""Writing an avatar's bundle: every file is complete and checked before any of them is seen."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from PIL import Image
from safetensors.numpy import save

from bilayer.export.convert.run import Conversion, ConvertOptions, convert_onnx
from bilayer.export.options import FURTHER_SUFFIXES, PREVIEW_SUFFIX, ConversionTarget
from bilayer.export.switch import switch
from bilayer.runtime.arrays import Floats
from bilayer.runtime.bundle import (
    Bundle,
    Contract,
    DlcInfo,
    Files,
    Graph,
    Origin,
    Outputs,
    PhotoSource,
    PoseInput,
    Quantization,
    Verification,
    describe_file,
    read_bundle,
)
from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.files.writing import drafting
from bilayer.runtime.sampler.grid_sample import pack_texture
from bilayer.runtime.vocabulary import IntegerPrecision


@dataclass(frozen=True, eq=False)
class BundleParts:
    """What goes into a bundle beside its network."""

    image_size: int  # S, of the network's results
    frame_size: int
    align_corners: bool
    texture: Floats  # (3, T, T)
    preview: Image.Image
    input: PoseInput
    outputs: Outputs
    source: PhotoSource
    graph: Graph
    verification: Verification
    origin: Origin
    further: Mapping[str, bytes] = field(default_factory=dict)  # by their fields of the contract
    quantization: Quantization | None = None  # of the draft's network in integers, which the .dlc is made of then


@dataclass(frozen=True, eq=False)
class BundleDraft:
    """A bundle whose network is being converted, in a folder beside its place."""

    out: Path
    folder: Path  # gone after the `with`
    conversion: Future[Conversion] | None  # None: no .dlc was asked for


@contextmanager
def draft_bundle(
    proto: onnx.ModelProto,
    out: Path,
    target: ConversionTarget,
    integers: Mapping[IntegerPrecision, onnx.ModelProto] | None = None,
) -> Iterator[BundleDraft]:
    """Convert the network while the block goes on; what is not written by its end is dropped, and a converter stopped.

    Args:
        proto: in float32.
        out: where the .dlc comes to be.
        target: what converts.
        integers: the network in integers by its precision, if any: written, too, and converted in `proto`'s place.

    Raises:
        OutputError: nothing can be written beside `out`.
    """
    stop = threading.Event()
    with drafting(out) as folder, ThreadPoolExecutor(1) as beside:
        try:
            conversion = None
            onnx_path = folder / f"{out.stem}.onnx"
            onnx_path.write_bytes(proto.SerializeToString(deterministic=True))
            for precision, rounded in (integers or {}).items():
                onnx_path = folder / f"{out.stem}.{precision}.onnx"
                onnx_path.write_bytes(rounded.SerializeToString(deterministic=True))
            if target not in ("none", "litert"):
                options = ConvertOptions(place=out.parent, stop=stop)
                conversion = beside.submit(convert_onnx, onnx_path, folder / out.name, target, options)
            yield BundleDraft(out, folder, conversion)
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
    texture = {"texture": pack_texture(parts.texture)}
    (folder / f"{out.stem}.safetensors").write_bytes(save(texture))  # `save_file` has its own errors for a full disk
    parts.preview.save(folder / f"{out.stem}{PREVIEW_SUFFIX}")
    for role, content in parts.further.items():
        (folder / f"{out.stem}{FURTHER_SUFFIXES[role]}").write_bytes(content)
    try:
        conversion = draft.conversion.result() if draft.conversion else None
    except ToolMissingError as error:
        missing = error
    contract = _contract(parts, folder, out.stem, conversion)
    (folder / f"{out.stem}.json").write_text(contract.to_json(), encoding="utf-8")
    if check is not None:
        check(read_bundle(folder / f"{out.stem}.json"))
    switch(folder, out, contract)
    with suppress(OSError):
        out.with_name(f"{out.name}.log").unlink()  # of an earlier conversion that failed
    return read_bundle(out.with_suffix(".json")), missing


def _contract(parts: BundleParts, folder: Path, stem: str, conversion: Conversion | None) -> Contract:
    dlc, integers = None if conversion is None else folder / f"{stem}.dlc", parts.quantization
    return Contract(
        image_size=parts.image_size,
        texture_size=parts.texture.shape[-1],
        frame_size=parts.frame_size,
        align_corners=parts.align_corners,
        input=parts.input,
        outputs=parts.outputs,
        files=Files(
            onnx=describe_file(folder / f"{stem}.onnx"),
            texture=describe_file(folder / f"{stem}.safetensors"),
            preview=describe_file(folder / f"{stem}{PREVIEW_SUFFIX}"),
            dlc=None if dlc is None else describe_file(dlc),
            **{role: describe_file(folder / f"{stem}{FURTHER_SUFFIXES[role]}") for role in parts.further},
            integers=None if integers is None else describe_file(folder / f"{stem}.{integers.precision}.onnx"),
        ),
        source=parts.source,
        graph=parts.graph,
        dlc=None if conversion is None else _describe(conversion),
        verification=parts.verification,
        origin=parts.origin,
        quantization=integers,
    )


def _describe(conversion: Conversion) -> DlcInfo:
    layouts = {end.layout for end in conversion.ends if end.layout}  # of the picture-shaped outputs
    return DlcInfo(
        target=conversion.target,
        tool=f"{conversion.tool} {conversion.tool_version}".strip(),
        container=conversion.dlc_version,
        readable_by=conversion.readable_by,
        layout=" and ".join(sorted(layouts)) or "unknown",
    )
