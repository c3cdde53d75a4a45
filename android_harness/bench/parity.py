"""What a device computed against ONNX Runtime here, on the same poses."""

from collections.abc import Mapping, Sequence

import numpy as np

from bilayer.android_harness.results import Parity
from bilayer.runtime.agreement import Agreement, Bytes, compare
from bilayer.runtime.bundle import Bundle
from bilayer.runtime.engines.load import load_engine
from bilayer.runtime.frame import Floats, NetworkOutputs
from bilayer.runtime.player import read_texture
from bilayer.runtime.sampler.compositor import FrameCompositor
from bilayer.runtime.sampler.rows import Engine

Tensors = Mapping[str, Floats]  # (1, C, S, S) by name


class Reference:
    """A bundle's network on ONNX Runtime, and its frames; for a few of these the sampler "numpy" starts quicker."""

    def __init__(self, bundle: Bundle, sampler: Engine = "auto") -> None:
        self._outputs = bundle.contract.outputs
        self._network = load_engine(bundle.path(bundle.contract.files.onnx), bundle.contract, "onnxruntime")
        self._compositor = FrameCompositor(
            read_texture(bundle), bundle.contract.align_corners, size=bundle.contract.frame_size, engine=sampler
        )
        self.shapes = {name: array.shape for name, array in self._network.tensors.items()}  # outputs', (1, C, S, S)

    def run(self, pose: Floats) -> dict[str, Floats]:
        """The network's outputs for a pose (136,): new arrays."""
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
        """(F, F, 4) RGBA of a network's outputs."""
        return self._compositor.compose(NetworkOutputs.read(self._outputs, tensors).drawable())

    def compare(self, poses: Floats, found: Sequence[Tensors]) -> Parity:
        """Compare what a device gave for poses (P, 136) with ONNX Runtime's results; return the worst of them."""
        worst = Agreement.worst(map(self._compare, poses, found))
        rounded = {name: round(db, 2) for name, db in worst.psnr_db.items()}
        return Parity(len(poses), rounded, round(worst.uv_pixels, 4), worst.not_finite)

    def _compare(self, pose: Floats, tensors: Tensors) -> Agreement:
        found, expected = NetworkOutputs.read(self._outputs, tensors), self._network.run(pose)
        frames = (self._compositor.compose(results.drawable()) for results in (found, expected))
        return compare(found, expected, *frames)
