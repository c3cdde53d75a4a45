"""A stand-in for snpe-net-run and qnn-net-run on the test phone: no SDK is at hand, and this is not one.

It takes the options of the program by whose name it is called and computes through ONNX Runtime; its .dlc is an .onnx
file. $STAND_IN makes it fail in some way. What it writes into its log is invented, and must be seen nowhere.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

INVENTED_US = 31337  # no duration of anything
VERSION = os.environ.get("STAND_IN_VERSION", "stand-in")


def parse(tool):
    parser = argparse.ArgumentParser(tool, allow_abbrev=False)
    parser.add_argument("--input_list", required=True)
    parser.add_argument("--output_dir", default="output")
    parser.add_argument("--perf_profile", choices=["high_performance"])
    parser.add_argument("--profiling_level", choices=["basic", "detailed"], required=True)
    if tool == "snpe-net-run":
        parser.add_argument("--container", required=True)
        parser.add_argument("--use_gpu", action="store_true")
        parser.add_argument("--use_dsp", action="store_true")
        parser.add_argument("--gpu_mode", choices=["default", "float16"], default="default")
    else:
        parser.add_argument("--backend", required=True)
        graph = parser.add_mutually_exclusive_group(required=True)
        graph.add_argument("--model")
        graph.add_argument("--retrieve_context", dest="context")
        parser.add_argument("--dlc_path", dest="container")
    given = parser.parse_args()
    if tool == "qnn-net-run":
        given.use_gpu, given.gpu_mode, given.use_dsp = "Gpu" in given.backend, "default", "Htp" in given.backend
        load(given.backend, *([given.model] if given.model else []))
        given.container = given.context or given.container
    if given.use_dsp:
        find_skel("libSnpeHtpV73Skel.so" if tool == "snpe-net-run" else "libQnnHtpV73Skel.so")
    return given


def load(*libraries):
    for library in libraries:
        if not Path(library).is_file():
            sys.exit(f"Unable to load backend {library}")


def find_skel(name):
    if not any((Path(folder) / name).is_file() for folder in os.environ["ADSP_LIBRARY_PATH"].split(";")):
        sys.exit("The selected runtime is not available on this platform: no skel")


def write_context():
    """As qnn-context-binary-generator: here the context is the .dlc itself."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("backend", "model", "dlc_path", "output_dir", "binary_file"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    load(given.backend, given.model, str(Path(given.backend).parent / "libQnnHtpPrepare.so"))
    find_skel("libQnnHtpV73Skel.so")
    folder = Path(given.output_dir)
    folder.mkdir(parents=True)
    (folder / f"{given.binary_file}.bin").write_bytes(Path(given.dlc_path).read_bytes())


def misbehave(mode, given):
    match mode:
        case "hang":
            time.sleep(600)
        case "no dsp" if given.use_dsp:
            print("The selected runtime is not available on this platform. Continue anyway to observe the failure.")
            sys.exit("error_code=500; error_message=Target runtime is not available.")
        case "no gpu" if given.use_gpu:
            print("The selected runtime is not available on this platform. Continue anyway to observe the failure.")
            sys.exit("error_code=500; error_message=Target runtime is not available.")
        case "fail":
            sys.exit("error_code=910; error_message=Layer is \x1bnot supported.")
        case "full":
            sys.exit("write failed: No space left on device")
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "nothing":
            sys.exit(0)


def main():
    tool, mode = Path(sys.argv[0]).name, os.environ.get("STAND_IN", "")
    if "generator" in tool:
        write_context()
        return
    given = parse(tool)
    libraries = [Path(folder) / "libSNPE.so" for folder in os.environ["LD_LIBRARY_PATH"].split(":")]
    if tool == "snpe-net-run" and not any(path.is_file() for path in libraries):
        sys.exit('CANNOT LINK EXECUTABLE "snpe-net-run": library "libSNPE.so" not found')
    misbehave(mode, given)

    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(Path(given.container).read_bytes(), options)
    names = [output.name for output in session.get_outputs()]
    lines = Path(given.input_list).read_text().splitlines()
    if tool == "snpe-net-run":
        assert lines[0] == f"#{' '.join(names)}", lines[0]
        lines = lines[1:]
    for number, line in enumerate(lines):
        tensor, _, path = line.partition(":=")
        pose = np.fromfile(path, "<f4")[None]
        place = Path(given.output_dir) / f"Result_{number}"
        place.mkdir(parents=True)
        for name, array in zip(names, session.run(names, {tensor: pose}), strict=True):
            if given.gpu_mode == "float16":
                array = array.astype(np.float16).astype(np.float32)
            if tool == "snpe-net-run" and mode != "wrong layout":
                array = array.transpose(0, 2, 3, 1)  # SNPE 1.x gives NHWC
            array.astype("<f4").tofile(place / f"{name}.raw")
    log = "SNPEDiag_0.log" if tool == "snpe-net-run" else "qnn-profiling-data_0.log"
    content = {"count": len(lines), "level": given.profiling_level, "version": VERSION, "us": INVENTED_US}
    (Path(given.output_dir) / log).write_text(json.dumps(content))


if __name__ == "__main__":
    main()
