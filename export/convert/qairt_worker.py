"""One ONNX file -> one DLC v4 by the onnxruntime-qnn package; run as a process, since Qualcomm's library may end it.

    python -m bilayer.export.convert.qairt_worker MODEL.onnx FOLDER SOC

writes FOLDER/<any name>.dlc. Exit codes: see `exit_code_of`.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

NOT_LOADED = 5


def open_session(model: Path, soc: str, settings: dict[str, str], dlc_folder: str | None = None) -> Any:
    """An onnxruntime.InferenceSession of the whole graph on QNN's HTP backend, which may write a .dlc of it, too.

    Raises:
        ImportError: the package does not load.
        Exception: the backend refuses the network; ONNX Runtime has a dozen kinds of errors.
    """
    import onnxruntime as ort
    import onnxruntime_qnn as qnn

    ort.disable_telemetry_events()
    ort.register_execution_provider_library(qnn.get_ep_name(), qnn.get_library_path())
    devices = [device for device in ort.get_ep_devices() if device.ep_name == qnn.get_ep_name()]
    libraries, options = Path(qnn.LIB_DIR_FULL_PATH), ort.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")  # the whole graph, or an error
    settings = {"backend_path": str(libraries / "libQnnHtp.so"), "soc_model": soc, **settings}
    if dlc_folder is None:
        options.log_severity_level = 3
    else:
        # The HTP backend says which operators Qualcomm's runtimes take, the IR backend writes the file. The HTP alone
        # writes no .dlc, and the IR alone writes a form of Resize that other backends refuse.
        settings |= {"qnn_ir_backend_path": str(libraries / "libQnnIr.so"), "dump_qnn_ir_dlc": "1"}
        settings["dump_qnn_ir_dlc_dir"] = dlc_folder
        # Fused weights would not be those of the ONNX model
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_provider_for_devices(devices[:1], settings)
    # From bytes: given a path, ONNX Runtime hashes it into the graph's name, and so into the file
    return ort.InferenceSession(model.read_bytes(), sess_options=options)


def exit_code_of(work: Callable[[], object]) -> int:
    """Do the work: 0, NOT_LOADED where the package does not load, else 1 with the reason printed as the last line."""
    try:
        work()
    except ImportError as error:
        print(f"cannot be loaded: {error}")
        return NOT_LOADED
    except Exception as error:  # ONNX Runtime has a dozen kinds, all of them RuntimeError's cousins
        print(str(error).replace("\n", " "))
        return 1
    return 0


if __name__ == "__main__":
    network, folder, soc = sys.argv[1:]
    sys.exit(exit_code_of(lambda: open_session(Path(network), soc, {}, folder)))
