"""Poses through one ONNX file on the x86 simulator of Qualcomm's HTP, in FP16; a process, as the library may end it.

    python -m bilayer.benchmarks.parity.rungs.htp_worker MODEL.onnx POSES.npy RESULTS.npz SOC

POSES is (N, width) float32; RESULTS has every output tensor, (N, C, S, S). Exit codes: see `exit_code_of`.
"""

import sys
from pathlib import Path

from bilayer.export.convert.qairt_worker import exit_code_of, open_qnn_session


def compute(model: str, poses: str, results: str, soc: str) -> None:
    """Write the results of all poses, by the arguments that the module names."""
    import numpy as np

    session = open_qnn_session(Path(model), soc, {"enable_htp_fp16_precision": "1"})
    (given,), names = session.get_inputs(), [output.name for output in session.get_outputs()]
    frames = [session.run(names, {given.name: pose[None]}) for pose in np.load(poses)]
    arrays = {name: np.concatenate(tensors) for name, tensors in zip(names, zip(*frames, strict=True), strict=True)}
    np.savez(results, allow_pickle=False, **arrays)


if __name__ == "__main__":
    sys.exit(exit_code_of(lambda: compute(*sys.argv[1:])))
