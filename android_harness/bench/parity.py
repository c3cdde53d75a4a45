"""What a device computed against ONNX Runtime here, on the same poses, and how far FP16 emulated here is from it."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bilayer.android_harness.results import Parity
from bilayer.runtime.agreement import Agreement, Kind, compare, compare_drawn
from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.bundle import Bundle
from bilayer.runtime.engines.load import load_engine
from bilayer.runtime.errors import BundleError, ToolMissingError
from bilayer.runtime.frame import NetworkOutputs
from bilayer.runtime.player import read_texture
from bilayer.runtime.sampler.compositor import FrameCompositor
from bilayer.runtime.sampler.rows import Engine

Tensors = Mapping[str, Floats]  # (1, C, S, S) by name
# A bundle, poses (P, 136), and fp16-hybrid or fp16 -> the network's results in that, of fp16 the worse end. It needs
# torch, and so stands above this room; raises ToolMissingError where that is missing, BundleError of a foreign network
Emulation = Callable[[Bundle, Floats, Kind], Sequence[NetworkOutputs]]


def no_emulation(bundle: Bundle, poses: Floats, kind: Kind) -> Sequence[NetworkOutputs]:
    """Raise a ToolMissingError: what stands for an `Emulation` where a caller gives none."""
    raise ToolMissingError("this program was started without one; bilayer-device has it")


class Reference:
    """A bundle's network on ONNX Runtime, and its frames; for a few of these the sampler "numpy" starts quicker."""

    def __init__(self, bundle: Bundle, sampler: Engine = "auto", emulation: Emulation = no_emulation) -> None:
        self._bundle, self._emulation = bundle, emulation
        self._emulated: dict[tuple[Kind, bytes], dict[str, float]] = {}  # PSNR, by kind and poses: it takes seconds
        self._outputs = bundle.contract.outputs
        self._network = load_engine(bundle.path(bundle.contract.files.onnx), bundle.contract, "onnxruntime")
        self._compositor = FrameCompositor(
            read_texture(bundle), bundle.contract.align_corners, size=bundle.contract.frame_size, engine=sampler
        )
        self.shapes = {name: array.shape for name, array in self._network.tensors.items()}  # outputs', (1, C, S, S)

    def run(self, pose: Floats) -> dict[str, Floats]:
        """Return the network's outputs for a pose (136,): new arrays."""
        self._network.run(pose)
        return {name: array.copy() for name, array in self._network.tensors.items()}

    def sampler_inputs(self, tensors: Tensors) -> dict[str, Floats]:
        """Return the sampler's inputs: delta_uv (2, S, S), lf (3, S, S), and seg (1, S, S) if there is a mask."""
        results, seg = NetworkOutputs.read(self._outputs, tensors), self._outputs.seg
        inputs = {"delta_uv": results.delta_uv, "lf": results.lf_rgb}
        if seg is not None:  # the sampler itself scales it
            inputs["seg"] = tensors[seg.tensor][0, seg.start : seg.stop]
        return {name: np.ascontiguousarray(array, np.float32) for name, array in inputs.items()}

    def frame(self, tensors: Tensors) -> Bytes:
        """Return (F, F, 4) RGBA of a network's outputs."""
        return self._compositor.compose(NetworkOutputs.read(self._outputs, tensors).drawable())

    def compare(self, poses: Floats, found: Sequence[Tensors], kind: Kind) -> Parity:
        """Compare what a device gave for poses (P, 136) with ONNX Runtime's results; return the worst of them.

        Where it computes in FP16, that is emulated here for the same poses, to be compared likewise.
        """
        worst = Agreement.worst(map(self._compare, poses, found))
        emulated: dict[str, float] = {}
        missing = None
        if kind != "fp32":
            try:
                emulated = self._emulate(poses, kind)
            except (ToolMissingError, BundleError) as error:
                missing = str(error)
        return Parity(
            poses=len(poses),
            kind=kind,
            psnr_db=_rounded(worst.psnr_db),
            frame_ssim=round(worst.frame_ssim, 5),
            uv_pixels=round(worst.uv_pixels, 4),
            not_finite=worst.not_finite,
            emulated_db=_rounded(emulated),
            not_emulated=missing,
        )

    def _emulate(self, poses: Floats, kind: Kind) -> dict[str, float]:
        key = kind, poses.tobytes()
        if key not in self._emulated:
            found = self._emulation(self._bundle, poses, kind)
            worst = Agreement.worst(
                compare(one, self._network.run(pose)) for pose, one in zip(poses, found, strict=True)
            )
            self._emulated[key] = worst.psnr_db
        return self._emulated[key]

    def _compare(self, pose: Floats, tensors: Tensors) -> Agreement:
        found, expected = NetworkOutputs.read(self._outputs, tensors), self._network.run(pose)
        return compare_drawn(found, expected, self._compositor.compose)


def _rounded(psnr_db: Mapping[str, float]) -> dict[str, float]:
    return {name: round(db, 2) for name, db in psnr_db.items()}
