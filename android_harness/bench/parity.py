"""What a device computed against ONNX Runtime here, on the same poses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.bundle import Bundle, Channels, Outputs
from bilayer.runtime.engines.load import load_engine
from bilayer.runtime.player import read_texture
from bilayer.runtime.sampler.compositor import FrameCompositor
from bilayer.runtime.sampler.rows import Engine

Floats = NDArray[np.float32]
Tensors = Mapping[str, Floats]  # (1, C, S, S) by name

FRAME = "frame"
LEAST_DB = 20.0  # below this it is not rounding: a wrong layout, another model. FP16 gives 30 and more


@dataclass(frozen=True)
class Parity:
    """The worst of some poses."""

    poses: int
    # delta_uv and lf_rgb of a range of 2, seg (if there is a mask) of 1, the composed frame of 255; None: no difference
    psnr_db: dict[str, float | None]
    uv_px: float  # the largest error of a warp coordinate, in pixels of the frame
    not_finite: int  # numbers

    @property
    def worst_db(self) -> float:
        """Of the network's results; infinite where nothing differs."""
        known = [db for name, db in self.psnr_db.items() if db is not None and name != FRAME]
        return min(known, default=float("inf"))

    @property
    def plausible(self) -> bool:
        """Whether this can be the same network."""
        return self.not_finite == 0 and self.worst_db >= LEAST_DB


class Reference:
    """A bundle's network on ONNX Runtime, and its frames; for a few of these the sampler "numpy" starts quicker."""

    def __init__(self, bundle: Bundle, sampler: Engine = "auto") -> None:
        self._contract = bundle.contract
        path = bundle.path(bundle.contract.files.onnx)
        self._network = load_engine(path, bundle.contract, "onnxruntime")
        seg = bundle.contract.outputs.seg
        self._compositor = FrameCompositor(
            read_texture(bundle),
            bundle.contract.align_corners,
            mask_scale=seg.scale if seg else 1.0,
            mask_offset=seg.offset if seg else 0.0,
            engine=sampler,
        )
        self.shapes = {
            name: array.shape for name, array in self._network.tensors.items()
        }  # of the outputs, (1, C, S, S)

    def run(self, pose: Floats) -> dict[str, Floats]:
        """The network's outputs for a pose (136,): new arrays."""
        self._network.run(pose)
        return {name: array.copy() for name, array in self._network.tensors.items()}

    def sampler_inputs(self, tensors: Tensors) -> dict[str, Floats]:
        """What the sampler makes a frame of: delta_uv (2, S, S), lf (3, S, S), seg (1, S, S) if there is one."""
        outputs = self._contract.outputs
        seg = outputs.seg
        inputs = {"delta_uv": _result(outputs.delta_uv, tensors), "lf": _result(outputs.lf_rgb, tensors)}
        if seg is not None:  # the sampler itself scales it
            inputs["seg"] = tensors[seg.tensor][0, seg.start : seg.stop]
        return {name: np.ascontiguousarray(array) for name, array in inputs.items()}

    def frame(self, tensors: Tensors) -> NDArray[np.uint8]:
        """(S, S, 4) RGBA of a network's outputs."""
        inputs = self.sampler_inputs(tensors)
        return self._compositor.render(inputs["delta_uv"], inputs["lf"], inputs.get("seg"))

    def compare(self, poses: Floats, found: Sequence[Tensors]) -> Parity:
        """What a device gave for poses (P, 136) against ONNX Runtime."""
        outputs = self._contract.outputs
        worst: dict[str, float] = {}
        uv_error, not_finite = 0.0, 0
        for pose, given in zip(poses, found, strict=True):
            expected = self.run(pose)
            not_finite += sum(int(np.size(array) - np.isfinite(array).sum()) for array in given.values())
            sane = {name: np.nan_to_num(array, posinf=0, neginf=0) for name, array in given.items()}
            pairs = {
                name: (_result(channels, expected), _result(channels, sane), 1.0 if name == "seg" else 2.0)
                for name, channels in channels_of(outputs).items()
            }
            uv_error = max(uv_error, float(np.abs(pairs["delta_uv"][0] - pairs["delta_uv"][1]).max()))
            pictures = [self.frame(tensors)[..., :3].astype(np.float32) for tensors in (expected, sane)]
            pairs[FRAME] = (pictures[0], pictures[1], 255.0)
            for name, (own, other, peak) in pairs.items():
                worst[name] = min(worst.get(name, np.inf), psnr(own, other, peak))
        rounded = {name: None if np.isinf(db) else round(float(db), 2) for name, db in worst.items()}
        return Parity(
            poses=len(poses),
            psnr_db=rounded,
            uv_px=round(uv_error * self._contract.image_size / 2, 4),
            not_finite=not_finite,
        )


def channels_of(outputs: Outputs) -> dict[str, Channels]:
    """The results that there are, by name."""
    found = {"delta_uv": outputs.delta_uv, "lf_rgb": outputs.lf_rgb, "seg": outputs.seg}
    return {name: channels for name, channels in found.items() if channels is not None}


def psnr(own: Floats, other: Floats, peak: float) -> float:
    """In dB for a range of `peak`; infinite where nothing differs."""
    error = float(np.mean(np.square(own.astype(np.float64) - other)))
    return float("inf") if error == 0 else float(10 * np.log10(peak * peak / error))


def _result(channels: Channels, tensors: Tensors) -> Floats:
    """(C, S, S) as the contract means it."""
    raw = tensors[channels.tensor][0, channels.start : channels.stop]
    return np.asarray(raw * np.float32(channels.scale) + np.float32(channels.offset), np.float32)
