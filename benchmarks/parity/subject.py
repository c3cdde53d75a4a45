"""What a parity run is about: one avatar, the poses it is compared on, and its frames."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bilayer.export.network.layers import FoldedGenerator
from bilayer.export.network.onnx_read import read_generator
from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.bundle import Bundle
from bilayer.runtime.engines.pose_encoding import PoseEncoder
from bilayer.runtime.errors import BundleError
from bilayer.runtime.files.reading import FileKind, read_bytes
from bilayer.runtime.frame import NetworkOutputs
from bilayer.runtime.player import read_texture
from bilayer.runtime.sampler.compositor import FrameCompositor

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, eq=False)
class Subject:
    """An avatar that the ladder tries: its bundle, opened, and the network that its rungs compute."""

    bundle: Bundle
    model: "onnx.ModelProto"
    generator: FoldedGenerator  # evaluated in float64 it is the truth: folded from the checkpoint, or else the ONNX's
    own: FoldedGenerator  # the weights in the ONNX file
    align_corners: bool  # that the network was made for, whatever avatar.json says
    texture: Floats  # packed, (T + 3, T + 3, 4)
    poses: Floats  # (N, 136)
    integers: "onnx.ModelProto | None" = None  # the network in integers, if the bundle has one

    @property
    def converted(self) -> "onnx.ModelProto":
        """The network that the .dlc was made of."""
        return self.model if self.integers is None else self.integers

    @property
    def onnx_path(self) -> Path:
        """The path of the network's file."""
        return self.bundle.path(self.bundle.contract.files.onnx)

    def encoded(self) -> Floats:
        """Encode the poses as the network takes them: (N, width)."""
        encoder = PoseEncoder(self.bundle.contract.input, str(self.onnx_path))
        return np.stack([encoder.encode(pose).copy() for pose in self.poses])

    def frame(self, outputs: NetworkOutputs, align_corners: bool) -> Bytes:
        """Return the frame (F, F, 4) RGBA that the player shows for these results."""
        size = self.bundle.contract.frame_size
        return FrameCompositor(self.texture, align_corners, size=size).compose(outputs.drawable())


def open_subject(bundle: Bundle, poses: Floats) -> Subject:
    """Return the avatar alone: its ONNX file's weights are the truth.

    Raises:
        BundleError: a network that bilayer-export did not write.
    """
    path, rounded = bundle.path(bundle.contract.files.onnx), bundle.contract.files.integers
    model = _read_model(path)
    generator = read_generator(model, bundle.contract, str(path))
    warp = next((entry.value for entry in model.metadata_props if entry.key == "warp"), "")
    told = {"True": True, "False": False}.get(warp.rpartition("align_corners ")[2])
    align_corners = bundle.contract.align_corners if told is None else told
    integers = None if rounded is None else _read_model(bundle.path(rounded))
    return Subject(bundle, model, generator, generator, align_corners, read_texture(bundle), poses, integers)


def _read_model(path: Path) -> "onnx.ModelProto":
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load_model_from_string(read_bytes(path, FileKind.ONNX, BundleError))
    except DecodeError as error:
        raise BundleError(f"{path}: not an ONNX model; export the avatar again") from error
