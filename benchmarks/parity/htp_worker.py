"""Poses through one ONNX file on the x86 simulator of Qualcomm's HTP, in FP16; a process, as the library may end it.

    python -m bilayer.benchmarks.parity.htp_worker MODEL.onnx POSES.npy RESULTS.npz SOC

POSES is (N, width) float32; RESULTS has every output tensor, (N, C, S, S). Exit code 5 if the package does not load,
else 1 with the reason as the last line.
"""

import sys
from pathlib import Path

NOT_LOADED = 5


def main(arguments: list[str]) -> int:
    """Run; see the module."""
    model, poses, results, soc = arguments
    try:
        import onnxruntime as ort
        import onnxruntime_qnn as qnn
    except ImportError as error:
        print(f"cannot be loaded: {error}")
        return NOT_LOADED
    import numpy as np

    ort.disable_telemetry_events()
    try:
        ort.register_execution_provider_library(qnn.get_ep_name(), qnn.get_library_path())
        devices = [device for device in ort.get_ep_devices() if device.ep_name == qnn.get_ep_name()]
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")  # all of it, or an error
        backend = str(Path(qnn.LIB_DIR_FULL_PATH) / "libQnnHtp.so")
        settings = {"backend_path": backend, "soc_model": soc, "enable_htp_fp16_precision": "1"}
        options.add_provider_for_devices(devices[:1], settings)
        session = ort.InferenceSession(Path(model).read_bytes(), sess_options=options)
        (given,), names = session.get_inputs(), [output.name for output in session.get_outputs()]
        frames = [session.run(names, {given.name: pose[None]}) for pose in np.load(poses)]
        arrays = {name: np.concatenate(tensors) for name, tensors in zip(names, zip(*frames, strict=True), strict=True)}
        np.savez(results, allow_pickle=False, **arrays)
    except Exception as error:  # ONNX Runtime has a dozen kinds, all of them RuntimeError's cousins
        print(str(error).replace("\n", " "))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
