"""One ONNX file -> one DLC v4 by the onnxruntime-qnn package; run as a process, since Qualcomm's library may end it.

    python -m bilayer.export.convert.qairt_worker MODEL.onnx FOLDER SOC

writes FOLDER/<any name>.dlc. Exit codes: see `exit_code_of`. With the number of a connection in their place it does
that in a fork for each network that comes by it: see host.py.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from bilayer.runtime.process.environment import import_onnxruntime

NOT_LOADED = 5


def open_qnn_session(model: Path, soc: str, settings: dict[str, str], dlc_folder: str | None = None) -> Any:
    """Return an onnxruntime.InferenceSession of the whole graph on QNN's HTP backend; `dlc_folder` gets its .dlc.

    Raises:
        ImportError: the package does not load.
        Exception: the backend refuses the network; ONNX Runtime has a dozen kinds of errors.
    """
    ort = import_onnxruntime()
    import onnxruntime_qnn as qnn

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


def convert(network: str, folder: str, soc: str) -> int:
    """Write the .dlc of a network into a folder, and return the exit code."""
    return exit_code_of(lambda: open_qnn_session(Path(network), soc, {}, folder))


def convert_for(owner: "Connection[int, tuple[str, ...]]") -> None:
    """Convert in a fork for each (log, network, folder, soc) that comes: its id is sent back, then its exit code."""
    with suppress(Exception):  # else each fork says why not
        import_onnxruntime()  # its threads begin with its first session
        import onnxruntime_qnn as qnn

        for name in ("libQnnHtp.so", "libQnnIr.so"):
            ctypes.CDLL(str(Path(qnn.LIB_DIR_FULL_PATH, name)))
    with suppress(EOFError, OSError):  # the owner has ended
        while True:
            log, *arguments = owner.recv()
            fork = os.fork()
            if not fork:
                owner.close()
                _work_alone(log, arguments)
            with suppress(OSError):
                os.setpgid(fork, 0)  # whoever comes first, before its id is known
            owner.send(fork)
            owner.send(os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]))


def _work_alone(log: str, arguments: list[str]) -> NoReturn:
    code = 1
    try:
        with suppress(OSError):
            os.setpgid(0, 0)
        output = os.open(log, os.O_WRONLY | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.chdir(arguments[1])
        code = convert(*arguments)
        sys.stdout.flush()
        ctypes.CDLL(None).fflush(None)  # what the libraries have printed
    finally:
        os._exit(code)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        convert_for(Connection(int(sys.argv[1])))
    else:
        sys.exit(convert(*sys.argv[1:]))
