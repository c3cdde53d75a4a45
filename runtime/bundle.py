"""The avatar bundle: what lies in its folder, and what `avatar.json` promises of it (docs/bundle.md).

avatar.json          this contract
avatar.onnx          the network: pose vector in, warp and low-frequency layer out
avatar.safetensors   the texture, packed for the sampler
avatar.dlc           the network for Qualcomm's runtimes, if it was converted
avatar.tflite        the network for LiteRT, if it was asked for; avatar.fp16.tflite with weights in FP16
avatar.mlpackage.zip the network for Core ML, if it was asked for
avatar.w8a16.onnx    the network in integers (QDQ), if it was asked for; the .dlc is made of it then
avatar.xnnpack.pte   the network for ExecuTorch, if it was asked for; avatar.vulkan.pte for its other backend
avatar.lids.safetensors  pieces of the texture with the eyes shut, where the network does not move the lids
avatar.preview.png   what it looks like
"""

import hashlib
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from bilayer.runtime.bundle_names import CONTRACT_SUFFIX, avatar_name
from bilayer.runtime.errors import BundleError
from bilayer.runtime.face.ibug import NUM_LANDMARKS, POSE_WIDTH
from bilayer.runtime.files.kinds import EMPTY, TEXT, kind_of
from bilayer.runtime.files.onnx_external import external_data
from bilayer.runtime.files.reading import (
    FileKind,
    StrPath,
    check_input,
    is_file,
    is_folder,
    is_there,
    list_folder,
    open_file,
    read_bytes,
)
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.provenance import Count, DlcInfo, Graph, Index, Origin, Quantization, Verification
from bilayer.runtime.typed_json import FileFormat

# A wild contract must not ask for gigabytes
Side = Annotated[int, Meta(ge=1, le=4096)]
Box = Annotated[list[int], Meta(min_length=4, max_length=4)]
# In half crops from its middle: what is a thousand of them away is no landmark
Pose = Annotated[list[Annotated[float, Meta(gt=-1000, lt=1000)]], Meta(min_length=POSE_WIDTH, max_length=POSE_WIDTH)]

TexturePlace = Annotated[float, Meta(gt=-4, lt=4, description="-1..1 across the texture, as the warp has it")]


@dataclass(frozen=True)
class Channels:
    """Where one of the network's results stands: channels `start` to `stop` of `tensor`, times `scale` + `offset`."""

    tensor: str
    start: Index
    stop: Annotated[int, Meta(ge=1, description="the first channel that is not its own any more")]
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Outputs:
    """The network's results by what they mean."""

    delta_uv: Annotated[Channels, Meta(description="x, y offsets of the warp from the identity, -1..1")]
    lf_rgb: Annotated[Channels, Meta(description="low-frequency layer, -1..1")]
    seg: Annotated[Channels | None, Meta(description="foreground mask, 0..1; null: all is foreground")]

    @property
    def by_name(self) -> dict[str, Channels]:
        """Where each result stands that there is."""
        found = {"delta_uv": self.delta_uv, "lf_rgb": self.lf_rgb, "seg": self.seg}
        return {name: channels for name, channels in found.items() if channels is not None}


@dataclass(frozen=True)
class PoseInput:
    """The network's input: one pose."""

    tensor: str
    width: Annotated[int, Meta(ge=1, description="numbers of the encoded pose; the tensor is (1, width)")]
    harmonics: Annotated[
        Index, Meta(description="0: the landmarks as they are; else sines, cosines at so many frequencies")
    ]


@dataclass(frozen=True)
class PhotoSource:
    """The photo's face: where it was, and how it looked."""

    photo_size: Annotated[list[Count], Meta(min_length=2, max_length=2, description="width, height in pixels")]
    crop: Annotated[Box, Meta(description="left, top, right, bottom in photo pixels; may leave the photo")]
    pose: Annotated[Pose, Meta(description="the photo's 68 landmarks, x0, y0, x1, ...: -1..1 in the crop")]


@dataclass(frozen=True)
class BundledFile:
    """A file of the bundle, beside avatar.json."""

    name: str
    bytes: Index
    sha256: str


@dataclass(frozen=True)
class Files:
    """The files beside avatar.json."""

    onnx: Annotated[BundledFile, Meta(description="the network: pose in, warp and low-frequency layer out")]
    texture: Annotated[BundledFile, Meta(description=".safetensors with the texture, packed for the sampler")]
    preview: BundledFile
    dlc: Annotated[BundledFile | None, Meta(description="the network for Qualcomm's runtimes, if it was converted")]
    # Further forms of the network, each left out where it was not asked for
    tflite: Annotated[BundledFile | None, Meta(description="for LiteRT in float32, NHWC; or left out")] = None
    tflite_fp16: Annotated[BundledFile | None, Meta(description="the same, weights in FP16; or left out")] = None
    coreml: Annotated[BundledFile | None, Meta(description="for Core ML, an .mlpackage zipped; or left out")] = None
    integers: Annotated[BundledFile | None, Meta(description="QDQ ONNX: see quantization; or left out")] = None
    pte_xnnpack: Annotated[BundledFile | None, Meta(description="for ExecuTorch's XNNPACK; or left out")] = None
    pte_vulkan: Annotated[BundledFile | None, Meta(description="for ExecuTorch's Vulkan; or left out")] = None
    lids: Annotated[BundledFile | None, Meta(description="pieces of the texture: see lids; or left out")] = None

    @property
    def present(self) -> list[BundledFile]:
        """Those files that the bundle has, the preview last."""
        further = (self.integers, self.tflite, self.tflite_fp16, self.pte_xnnpack, self.pte_vulkan, self.coreml)
        every = (self.dlc, self.onnx, *further, self.texture, self.lids, self.preview)
        return [file for file in every if file is not None]


@dataclass(frozen=True)
class DrawnEye:
    """The pieces of one eye, (levels, height, width, 4) float32 in the packed texture's layout."""

    tensor: Annotated[str, Meta(description="its name in the file")]
    left: Annotated[int, Meta(ge=0, description="texel of the texture where the pieces begin, without its border")]
    top: Annotated[int, Meta(ge=0)]
    width: Annotated[int, Meta(ge=1)]
    height: Annotated[int, Meta(ge=1)]


@dataclass(frozen=True)
class DrawnLids:
    """How the lids are shown: piece k of an eye, counted from 1, where it is shut by k / levels; none at 0."""

    levels: Annotated[int, Meta(ge=1, le=64)]
    eyes: Annotated[
        list[DrawnEye], Meta(min_length=2, max_length=2, description="the picture's left eye, then the right")
    ]


@dataclass(frozen=True)
class Anchor:
    """Where one of the face's landmarks lies in the texture."""

    landmark: Annotated[int, Meta(ge=0, le=NUM_LANDMARKS - 1, description="which of the 68")]
    x: TexturePlace
    y: TexturePlace
    ridge: Annotated[float, Meta(ge=0.001, le=1000, description="0: it comes to lie exactly; more: less is moved")]


@dataclass(frozen=True)
class WarpAnchors:
    """How the warp is moved so that the landmarks come to lie where the pose has them: docs/bundle.md."""

    reach: Annotated[float, Meta(ge=0.01, le=2, description="how far a landmark moves what is around it, of -1..1")]
    limit: Annotated[float, Meta(gt=0, le=2, description="of how much is corrected at a landmark, of -1..1")]
    points: Annotated[list[Anchor], Meta(min_length=1, max_length=NUM_LANDMARKS)]


@dataclass(frozen=True)
class Contract:
    """The content of avatar.json."""

    image_size: Annotated[Side, Meta(description="px, side of the network's results")]
    texture_size: Annotated[Side, Meta(description="texels, side of the texture; left out: image_size")]
    frame_size: Annotated[Side, Meta(description="px, side of the frame; left out: image_size")]
    align_corners: Annotated[bool, Meta(description="what -1 and 1 mean to the warp: docs/bundle.md")]
    input: PoseInput
    outputs: Outputs
    files: Files
    source: PhotoSource
    graph: Graph
    dlc: DlcInfo | None
    verification: Verification
    origin: Origin
    quantization: Annotated[
        Quantization | None, Meta(description="of the network in integers; left out where there is none")
    ] = None
    lids: Annotated[
        DrawnLids | None, Meta(description="pieces of the texture with shut eyes; left out where there are none")
    ] = None
    anchors: Annotated[
        WarpAnchors | None,
        Meta(description="where landmarks lie in the texture; left out: the network's warp"),
    ] = None

    def to_json(self) -> str:
        """Return the text as it is written: the same contract gives the same bytes."""
        return AVATAR.to_json(self)


AVATAR = FileFormat(
    Contract,
    "bilayer-avatar",
    1,
    "an avatar",
    "export the avatar again, or update bilayer",
    BundleError,
    FileKind.SETTINGS,
    same_as={"texture_size": "image_size", "frame_size": "image_size"},
)


@dataclass(frozen=True)
class Bundle:
    """An avatar's folder and its contract, whose files have been found to be there: see `read_bundle`."""

    folder: Path
    contract: Contract

    def path(self, file: BundledFile) -> Path:
        """Return where one of its files lies."""
        return self.folder / file.name

    @property
    def paths(self) -> list[Path]:
        """All of its files, avatar.json too."""
        contract = (self.folder / self.contract.files.onnx.name).with_suffix(".json")
        return [contract, *map(self.path, self.contract.files.present)]


_KINDS = {
    **dict.fromkeys(("onnx", "integers"), FileKind.ONNX),
    **dict.fromkeys(("texture", "lids"), FileKind.TEXTURE),
    **{"preview": FileKind.PHOTO, "dlc": FileKind.DLC, "coreml": FileKind.MLPACKAGE},
    **dict.fromkeys(("tflite", "tflite_fp16"), FileKind.TFLITE),
    **dict.fromkeys(("pte_xnnpack", "pte_vulkan"), FileKind.PTE),
}


def kinds_of_files(contract: Contract) -> list[tuple[BundledFile, FileKind]]:
    """Return the files that a contract names, each with the kind that it has to be."""
    named = ((getattr(contract.files, setting.name), _KINDS[setting.name]) for setting in fields(contract.files))
    return [(file, kind) for file, kind in named if file is not None]


def describe_file(path: Path) -> BundledFile:
    """Return name, size and hash of a file as it is now, or a BundleError where it cannot be read."""
    with open_file(path, FileKind.ANY, BundleError) as file:
        size = os.fstat(file.fileno()).st_size
        return BundledFile(path.name, size, hashlib.file_digest(file, "sha256").hexdigest())


def read_bundle(path: str | Path) -> Bundle:
    """Return the bundle of an avatar.json, or of the folder with exactly one such file in it.

    Raises:
        BundleError: no bundle, a contract with another schema, or files that are missing or not those it was written
            with; names the field or the file.
    """
    json_path = _find_json(Path(path))
    contract = _read_contract(json_path)
    bundle = Bundle(json_path.parent, contract)
    for file, kind in kinds_of_files(contract):
        _check_file(bundle.path(file), file, kind)
    if (contract.files.lids is None) != (contract.lids is None):
        raise BundleError(f"{json_path}: lids: expected with files.lids, or both left out; export the avatar again")
    for network in filter(None, (contract.files.onnx, contract.files.integers)):
        _check_network(bundle.path(network))
    return bundle


def _find_json(path: Path) -> Path:
    if not is_folder(path):
        check_input(path, BundleError)
        name = avatar_name(path)
        contract = None if name is None else path.with_name(name + CONTRACT_SUFFIX)
        check_kind(path, kind_of(path, BundleError), contract if contract and is_file(contract) else None)
        return path
    found = list_folder(path, "*.json", BundleError)
    if len(found) != 1:
        names = ", ".join(file.name for file in found)
        way_out = "name the file" if found else f"bilayer-export PHOTO --out {pasted(path)} makes one"
        raise BundleError(f"{path}: expected one .json of an avatar in it, found {names or 'none'}; {way_out}")
    return found[0]


def check_kind(place: StrPath, kind: str, beside: StrPath | None) -> None:
    """Tell of what is given in place of an avatar.json what it is, and what to give, by a BundleError.

    Args:
        place: a file's path or URL.
        kind: what it starts like, by `files.kinds`.
        beside: the .json of the avatar that it belongs to by its name, where there is one.
    """
    if kind in (TEXT, EMPTY):
        return
    if beside is not None:
        way_out = f"give what lies beside it: {beside}"
    elif kind.startswith(("a photo", "a picture")):
        way_out = f"make one of it: bilayer-export {pasted(place)} --out avatar, and give avatar"
    else:
        way_out = "give the folder that bilayer-export wrote, or the avatar.json in it"
    raise BundleError(f"{place}: is {kind} and not an avatar; {way_out}")


def _read_contract(path: Path) -> Contract:
    contract = AVATAR.read(path)
    for name, channels in (("delta_uv", 2), ("lf_rgb", 3), ("seg", 1)):
        result = getattr(contract.outputs, name)
        if result is not None and result.stop - result.start != channels:
            found = f"{result.start} to {result.stop}"
            raise BundleError(f"{path}: outputs.{name}: expected {channels} channels, found {found}; export again")
    return contract


def _check_file(path: Path, file: BundledFile, kind: FileKind) -> None:
    if Path(file.name).name != file.name:
        raise BundleError(f"{path}: files.{file.name}: expected a name in the avatar's own folder")
    if not is_there(path):
        raise BundleError(f"{path}: missing; it belongs to the avatar: copy its whole folder")
    with open_file(path, kind, BundleError) as stream:
        found, expected = f"{os.fstat(stream.fileno()).st_size} bytes", f"{file.bytes} bytes"
        if found == expected:  # else it might be far larger
            found, expected = hashlib.file_digest(stream, "sha256").hexdigest(), file.sha256
    if found != expected:
        raise BundleError(
            f"{path}: not the file that the avatar was exported with (expected {expected[:19]}, found {found[:19]}); "
            "copy the folder or export again"
        )


def _check_network(path: Path) -> None:
    """Refuse weights in other files before an engine looks for them: no hash covers them, and they may lie anywhere."""
    try:
        outside = external_data(read_bytes(path, FileKind.ONNX, BundleError))
    except ValueError as error:
        raise BundleError(f"{path}: not a network that can be run ({error}); export the avatar again") from error
    if outside:
        found = "some in another one (ONNX external data)"
        raise BundleError(f"{path}: expected all weights in this file, found {found}; export the avatar again")
