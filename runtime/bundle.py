"""The avatar bundle: what lies in its folder, and what `avatar.json` promises of it (docs/bundle.md).

avatar.json          this contract
avatar.onnx          the network: pose vector in, warp and low-frequency layer out
avatar.safetensors   the texture, packed for the sampler
avatar.dlc           the network for Qualcomm's runtimes, if it was converted
avatar.preview.png   what it looks like
"""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from bilayer.runtime.errors import BundleError
from bilayer.runtime.files import kind_of

FORMAT, VERSION = "bilayer-avatar", 1
MAX_JSON_BYTES = 1 << 20


@dataclass(frozen=True)
class Channels:
    """Where one of the network's results stands: channels `start` to `stop` of `tensor`, times `scale` + `offset`."""

    tensor: str
    start: int
    stop: int
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Outputs:
    """The network's results by what they mean."""

    delta_uv: Channels  # x, y offsets of the warp from the identity, -1..1
    lf_rgb: Channels  # low-frequency layer, -1..1
    seg: Channels | None  # foreground mask, 0..1; None: all is foreground


@dataclass(frozen=True)
class PoseInput:
    """The network's input: one pose."""

    tensor: str
    width: int  # numbers
    harmonics: int  # 0: the 68 (x, y) pairs as they are; else their sines and cosines at so many frequencies


@dataclass(frozen=True)
class PhotoSource:
    """The photo's face: where it was, and how it looked."""

    photo_size: list[int]  # width, height in pixels
    crop: list[int]  # left, top, right, bottom in photo pixels; may leave the photo
    pose: list[float]  # the pose vector of the photo


@dataclass(frozen=True)
class BundledFile:
    """A file of the bundle, beside avatar.json."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Files:
    """All of them."""

    onnx: BundledFile
    texture: BundledFile
    preview: BundledFile
    dlc: BundledFile | None


@dataclass(frozen=True)
class DlcInfo:
    """What made the .dlc, and who reads it."""

    target: str
    tool: str  # with its version
    container: int  # 3 or 4
    readable_by: str
    layout: str  # of its output tensors, NCHW or NHWC


@dataclass(frozen=True)
class Graph:
    """How the network was simplified."""

    opset: int
    upsample: str  # nearest, deconv or phase
    gmacs: float  # per frame
    norms_kept: list[str]  # ill-conditioned ones, that stay as nodes


@dataclass(frozen=True)
class Verification:
    """What was compared with the trained model before the bundle was written."""

    verified: bool
    poses: int
    psnr_db: dict[str, float]  # ONNX Runtime, float32: of each result, the worst pose's
    hybrid_frame_db: (
        float | None
    )  # emulated FP16 storage: of the 8-bit RGBA frame, the worst pose's; None: not compared
    hybrid_uv_pixels: float | None  # the largest error of the warp, in texture pixels


@dataclass(frozen=True)
class Origin:
    """What the avatar was made from and with."""

    checkpoint: str  # its file name, or what it is
    checkpoint_sha256: str  # of all its tensors
    trained: bool  # False: random numbers, for trying the tools
    enhanced: bool  # the texture went through the enhancer
    versions: dict[str, str]


@dataclass(frozen=True)
class Contract:
    """The content of avatar.json."""

    image_size: int  # px, side of every image
    align_corners: bool  # of the warp: see docs/bundle.md
    input: PoseInput
    outputs: Outputs
    files: Files
    source: PhotoSource
    graph: Graph
    dlc: DlcInfo | None
    verification: Verification
    origin: Origin

    def to_json(self) -> str:
        """As it is written: the same contract gives the same bytes."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=2, allow_nan=False) + "\n"


@dataclass(frozen=True)
class Bundle:
    """A validated bundle."""

    folder: Path
    contract: Contract

    def path(self, file: BundledFile) -> Path:
        """Where one of its files lies."""
        return self.folder / file.name


def describe_file(path: Path) -> BundledFile:
    """Name, size and hash of a file as it is now."""
    with path.open("rb") as file:
        return BundledFile(path.name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def read_bundle(path: str | Path) -> Bundle:
    """The bundle of an avatar.json, or of the folder with exactly one such file in it.

    Raises:
        BundleError: no bundle, a contract with another schema, or files that are missing or not those it was written
            with; names the field or the file.
    """
    json_path = _find_json(Path(path))
    contract = _read_contract(json_path)
    bundle = Bundle(json_path.parent, contract)
    for setting in fields(contract.files):
        file = getattr(contract.files, setting.name)
        if file is not None:
            _check_file(bundle.path(file), file)
    return bundle


def _find_json(path: Path) -> Path:
    if not path.is_dir():
        if not path.is_file():
            raise BundleError(f"{path}: no such file or folder")
        _check_kind(path)
        return path
    found = sorted(path.glob("*.json"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found)
        way_out = "name the file" if found else f"bilayer-export PHOTO --out {shlex.quote(str(path))} makes one"
        raise BundleError(f"{path}: expected one .json of an avatar in it, found {names or 'none'}; {way_out}")
    return found[0]


def _check_kind(path: Path) -> None:
    """What is given in place of an avatar.json is told what it is, and what to give."""
    kind, contract = kind_of(path), path.with_suffix(".json")
    if kind in ("text", "an empty file"):
        return
    if kind.startswith(("a photo", "a picture")):
        way_out = f"make one of it: bilayer-export {shlex.quote(str(path))} --out avatar, and give avatar"
    elif contract.is_file():
        way_out = f"give what lies beside it: {contract}"
    else:
        way_out = "give the folder that bilayer-export wrote, or the avatar.json in it"
    raise BundleError(f"{path}: is {kind} and not an avatar; {way_out}")


def _read_contract(path: Path) -> Contract:
    if path.stat().st_size > MAX_JSON_BYTES:
        raise BundleError(f"{path}: expected an avatar.json of a few kilobytes, found {path.stat().st_size} bytes")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise BundleError(f"{path}: not an avatar; expected `format` to be {FORMAT}")
    version = content.pop("version", None)
    if version != VERSION:
        raise BundleError(f"{path}: version {version}, expected {VERSION}; export the avatar again, or update bilayer")
    contract = _parse(Contract, content, "", path)
    assert isinstance(contract, Contract)
    for name, channels in (("delta_uv", 2), ("lf_rgb", 3), ("seg", 1)):
        result = getattr(contract.outputs, name)
        if result is not None and (result.start < 0 or result.stop - result.start != channels):
            found = f"{result.start} to {result.stop}"
            raise BundleError(f"{path}: outputs.{name}: expected {channels} channels, found {found}; export again")
    return contract


def _parse(expected: Any, value: object, where: str, path: Path) -> object:
    """`value` as the annotated type: dataclasses from objects, with exactly their fields; plain types as they are."""
    if get_origin(expected) is UnionType:
        if value is None:
            return None
        (expected,) = (choice for choice in get_args(expected) if choice is not NoneType)
    if isinstance(expected, type) and hasattr(expected, "__dataclass_fields__"):
        known = {setting.name: setting.type for setting in fields(expected)}
        given = value if isinstance(value, Mapping) else {}
        for name in [*known, *given]:
            if name not in known or name not in given:
                field = f"{where}{name}"
                raise BundleError(
                    f"{path}: {field}: {'missing' if name in known else 'unknown'}; export the avatar again"
                )
        return expected(**{name: _parse(kind, given[name], f"{where}{name}.", path) for name, kind in known.items()})
    container = get_origin(expected) or expected
    if container is float and type(value) is int:
        return float(value)
    right = type(value) is container
    if right and container in (list, dict):
        items = value if isinstance(value, list) else value.values()  # type: ignore[attr-defined]
        item_type = get_args(expected)[-1]
        right = all(type(item) is item_type or (item_type is float and type(item) is int) for item in items)
    if not right:
        raise BundleError(f"{path}: {where.rstrip('.')}: expected {_name(expected)}, found {str(value)[:60]!r}")
    return value


def _name(expected: Any) -> str:
    return expected.__name__ if isinstance(expected, type) and not get_args(expected) else str(expected)


def _check_file(path: Path, file: BundledFile) -> None:
    if Path(file.name).name != file.name:
        raise BundleError(f"{path}: files.{file.name}: expected a name in the avatar's own folder")
    if not path.is_file():
        raise BundleError(f"{path}: missing; it belongs to the avatar: copy its whole folder")
    found = describe_file(path)
    if found != file:
        raise BundleError(
            f"{path}: not the file that the avatar was exported with ({found.bytes} bytes, sha256 {found.sha256[:12]}; "
            f"expected {file.bytes} bytes, {file.sha256[:12]}); copy the folder or export again"
        )
