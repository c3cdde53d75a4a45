"""A stand-in for LiteRT's benchmark_model on the test phone: LiteRT's package computes, on this machine's processor.

It takes the flags that the route gives, and refuses any other. What it says of times is invented and must be seen
nowhere.
"""

import os
import sys
from pathlib import Path

import numpy as np

INVENTED_US = 31337  # no duration of anything
KNOWN = {
    "graph", "input_layer", "input_layer_shape", "input_layer_value_files", "num_runs", "warmup_runs", "min_secs",
    "warmup_min_secs", "max_secs", "output_filepath", "use_gpu", "gpu_precision_loss_allowed",
    "require_full_delegation", "use_xnnpack", "xnnpack_force_fp16", "num_threads",
}  # fmt: skip


def main():
    given = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
    assert set(given) <= KNOWN, set(given) - KNOWN
    print(f"INFO: STARTING! {os.environ.get('STAND_IN_VERSION', '(a stand-in)')}")
    if os.environ.get("STAND_IN") == "fail":
        sys.exit("ERROR: Failed to load model avatar.tflite")
    if given.get("use_gpu") == "true" and os.environ.get("STAND_IN") != "gpu":
        print("ERROR: Disallowed CPU fallback detected.")
        sys.exit("ERROR: Benchmarking failed.")
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(given["graph"], num_threads=1)
    interpreter.allocate_tensors()
    ((name, path),) = [item.split(":", 1) for item in given["input_layer_value_files"].split(",")]
    (end,) = interpreter.get_input_details()
    assert (name, given["input_layer"]) == (end["name"], end["name"])
    assert given["input_layer_shape"] == ",".join(map(str, end["shape"]))
    interpreter.set_tensor(end["index"], np.fromfile(path, "<f4")[None])
    half = given.get("gpu_precision_loss_allowed") == "true" or given.get("xnnpack_force_fp16") == "true"
    for _ in range(min(int(given["num_runs"]), 2)):
        interpreter.invoke()
    delegate = "GPU" if given.get("use_gpu") == "true" else "XNNPACK"
    how = "completely" if delegate == "GPU" else "partially"
    print(f"INFO: Explicitly applied {delegate} delegate, and the model graph will be {how} executed by the delegate.")
    if "output_filepath" in given:
        arrays = [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]
        arrays = [array.astype(np.float16).astype(np.float32) if half else array for array in arrays]
        Path(given["output_filepath"]).write_bytes(b"".join(array.tobytes() for array in arrays))
    said = f"Init: {INVENTED_US}, First inference: {INVENTED_US}, Warmup (avg): {INVENTED_US}.5"
    print(f"INFO: Inference timings in us: {said}, Inference (avg): 3.1337e+04")


if __name__ == "__main__":
    main()
