"""What a parity run is about: one avatar, the poses it is compared on, and its frames."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bilayer.export.network.layers import FoldedGenerator
from bilayer.export.network.onnx_read import read_generator
from bilayer.runtime.bundle import Bundle, Outputs
from bilayer.runtime.engines.pose_encoding import PoseEncoder
from bilayer.runtime.errors import BundleError, InputError
from bilayer.runtime.motion.retarget import driving_poses
from bilayer.runtime.motion.track import demo_motion
from bilayer.runtime.motion.track_files import read_track
from bilayer.runtime.player import read_texture
from bilayer.runtime.sampler.compositor import FrameCompositor

if TYPE_CHECKING:
    import onnx

Values = NDArray[np.floating[Any]]
Results = dict[str, Values]  # by what they mean: delta_uv (2, S, S), lf_rgb (3, S, S), and seg (1, S, S) if there
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

RESULTS = ("delta_uv", "lf_rgb", "seg")
RANGES = {"delta_uv": 2.0, "lf_rgb": 2.0, "seg": 1.0}  # what PSNR is relative to


@dataclass(frozen=True, eq=False)
class Subject:
    """An avatar under test."""

    bundle: Bundle
    model: "onnx.ModelProto"
    generator: FoldedGenerator  # evaluated in float64 it is the truth: folded from the checkpoint, or else the ONNX's
    own: FoldedGenerator  # the weights in the ONNX file
    align_corners: bool  # that the network was made for, whatever avatar.json says
    texture: Floats  # packed, (S + 3, S + 3, 4)
    poses: Floats  # (N, 136)

    @property
    def onnx_path(self) -> Path:
        """The network's file."""
        return self.bundle.path(self.bundle.contract.files.onnx)

    @property
    def size(self) -> int:
        """S, pixels."""
        return self.bundle.contract.image_size

    def encoded(self) -> Floats:
        """The poses as the network takes them, (N, width)."""
        encoder = PoseEncoder(self.bundle.contract.input, str(self.onnx_path))
        return np.stack([encoder.encode(pose).copy() for pose in self.poses])


def open_subject(bundle: Bundle, poses: Floats) -> Subject:
    """The avatar alone: its ONNX file's weights are the truth.

    Raises:
        BundleError: a network that bilayer-export did not write.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = bundle.path(bundle.contract.files.onnx)
    try:
        model = onnx.load(path)
    except DecodeError as error:
        raise BundleError(f"{path}: not an ONNX model; export the avatar again") from error
    generator = read_generator(model, bundle.contract, str(path))
    warp = next((entry.value for entry in model.metadata_props if entry.key == "warp"), "")
    told = {"True": True, "False": False}.get(warp.rpartition("align_corners ")[2])
    align_corners = bundle.contract.align_corners if told is None else told
    return Subject(bundle, model, generator, generator, align_corners, read_texture(bundle), poses)


def choose_poses(bundle: Bundle, frames: int, drive: Path | None) -> Floats:
    """Poses (N, 136) spread evenly over a motion track: the built-in one, or a file's, retargeted to the avatar.

    Raises:
        LandmarkError: the file is no track.
        InputError: no frame asked for.
    """
    if frames < 1:
        raise InputError(f"frames: expected 1 or more, found {frames}")
    source = np.array(bundle.contract.source.pose, np.float32)
    if drive is None:
        track = demo_motion(source.reshape(-1, 2)).landmarks.reshape(-1, source.size)
    else:
        track = driving_poses(source, read_track(drive))
    return np.ascontiguousarray(track[spread(len(track), frames)])


def spread(length: int, count: int) -> NDArray[np.int64]:
    """At most `count` indices, evenly spread over `length`, the first among them."""
    return np.unique(np.arange(count, dtype=np.int64) * length // count) if count < length else np.arange(length)


def read_results(outputs: Outputs, tensors: dict[str, Any]) -> Results:
    """The results out of a network's output tensors (1, C, S, S)."""
    results: Results = {}
    for name in RESULTS:
        channels = getattr(outputs, name)
        if channels is not None:
            raw = np.asarray(tensors[channels.tensor])[0, channels.start : channels.stop]
            results[name] = raw * raw.dtype.type(channels.scale) + raw.dtype.type(channels.offset)
    return results


def compose(subject: Subject, results: Results, align_corners: bool) -> Bytes:
    """The frame (S, S, 4) RGBA that the player shows for these results."""
    compositor = FrameCompositor(subject.texture, align_corners)
    planes = {name: np.ascontiguousarray(np.nan_to_num(values), np.float32) for name, values in results.items()}
    mask = planes.get("seg")
    return compositor.render(planes["delta_uv"], planes["lf_rgb"], mask)
