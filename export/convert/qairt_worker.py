"""One ONNX file -> one DLC v4 by the onnxruntime-qnn package; run as a process, since Qualcomm's library may end it.

    python -m bilayer.export.convert.qairt_worker MODEL.onnx FOLDER SOC

writes FOLDER/<any name>.dlc; exit code 5 if the package does not load, else 1 with the reason as the last line.
"""

import sys
from pathlib import Path

NOT_LOADED = 5


def main(arguments: list[str]) -> int:
    """Convert as the module says, and return the exit code."""
    model, folder, soc = arguments
    try:
        import onnxruntime as ort
        import onnxruntime_qnn as qnn
    except ImportError as error:
        print(f"cannot be loaded: {error}")
        return NOT_LOADED
    ort.disable_telemetry_events()
    libraries = Path(qnn.LIB_DIR_FULL_PATH)
    try:
        # The HTP backend says which operators Qualcomm's runtimes take, the IR backend writes the file. The HTP alone
        # writes no .dlc, and the IR alone writes a form of Resize that other backends refuse.
        ort.register_execution_provider_library(qnn.get_ep_name(), qnn.get_library_path())
        devices = [device for device in ort.get_ep_devices() if device.ep_name == qnn.get_ep_name()]
        options = ort.SessionOptions()
        # Fused weights would not be those of the ONNX model
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")  # the whole graph, or an error
        options.add_provider_for_devices(
            devices[:1],
            {
                "backend_path": str(libraries / "libQnnHtp.so"),
                "qnn_ir_backend_path": str(libraries / "libQnnIr.so"),
                "dump_qnn_ir_dlc": "1",
                "dump_qnn_ir_dlc_dir": folder,
                "soc_model": soc,
            },
        )
        # From bytes: given a path, ONNX Runtime hashes it into the graph's name, and so into the file
        ort.InferenceSession(Path(model).read_bytes(), sess_options=options)
    except Exception as error:  # ONNX Runtime has a dozen kinds, all of them RuntimeError's cousins
        print(str(error).replace("\n", " "))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
