"""A stand-in for ExecuTorch's executor_runner on the test phone: its .pte is an .onnx, which ONNX Runtime computes.

It takes the flags that the route gives, and refuses any other. What it says of times is invented and must be seen
nowhere.
"""

import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime

INVENTED_US = 31337  # no duration of anything
KNOWN = {"model_path", "inputs", "output_file", "num_executions", "cpu_threads"}


def main():
    given = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
    assert set(given) <= KNOWN, set(given) - KNOWN
    if os.environ.get("STAND_IN") == "silent":  # as it is built in Release, where nothing else is said
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    print(f"I 00:00:00.000 Model file {given['model_path']} {os.environ.get('STAND_IN_VERSION', '(a stand-in)')}")
    if "vulkan" in given["model_path"]:
        print("E 00:00:00.001 executorch:method.cpp:65] Backend VulkanBackend is not registered.")
        print("F 00:00:00.002 Loading of method forward failed with status 0x20")
        os.abort()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(Path(given["model_path"]).read_bytes(), options)
    results = session.run(None, {"pose": np.fromfile(given["inputs"], "<f4")[None]})
    print(f"I 00:00:00.100 Model loaded in {INVENTED_US / 1000} ms.")
    count = int(given["num_executions"])
    print(f"I 00:00:00.200 Model executed successfully {count} time(s) in {count * INVENTED_US / 1000} ms.")
    for number, array in enumerate(results if "output_file" in given else ()):
        Path(f"{given['output_file']}-{number}.bin").write_bytes(array.astype("<f4").tobytes())


if __name__ == "__main__":
    main()
