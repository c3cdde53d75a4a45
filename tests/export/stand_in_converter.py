"""A stand-in for Qualcomm's converters, for tests: no SDK is at hand, and this is not one.

Installed on PATH or in an SDK-like folder under the name of the tool that it stands in for, it takes that tool's
options and does what $STAND_IN says: convert (to a file written after the public description), or fail in some way.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def parse(tool, era):
    parser = argparse.ArgumentParser(tool)
    if era == "1.27":
        parser.add_argument("--model_path", "-m", required=True, dest="network")
        parser.add_argument("--dlc_path", "-d", required=True, dest="output")
    else:
        parser.add_argument("--input_network", "-i", required=True, dest="network")
        parser.add_argument("--output_path", "-o", required=True, dest="output")
    if tool == "snpe-onnx-to-dlc":
        parser.add_argument("--model_version")
        if era != "1.27":
            parser.add_argument("--input_type", "-t", nargs=2, action="append")
            parser.add_argument("--input_encoding", "-e", nargs=2, action="append")
    return parser.parse_args()


def convert(tool, given, mode):
    """The bytes of the file; wrong ones in some modes."""
    import numpy as np
    import onnx

    from tests.export import dlc_writer
    from tests.export.networks import constants, with_constant

    network = onnx.load(given.network)
    if mode == "rounded weights":
        weight = constants(network)["block0_conv1.weight"].astype(np.float16).astype(np.float32)
        network = with_constant(network, "block0_conv1.weight", weight)
    if mode == "lost output":
        del network.graph.node[-1]
    if (tool == "qairt-converter") != (mode == "other era"):
        data = dlc_writer.v4(network, "NR64")
    else:
        version = getattr(given, "model_version", "")
        command = f"converter-command={tool}\nconverter-version=1.32.0.555\nmodel-version={version}\n"
        data = dlc_writer.v3(network, metadata=command)
    return data[:-1000] if mode == "truncated" else data


def main():
    tool, mode = Path(sys.argv[0]).name, os.environ.get("STAND_IN", "convert")
    if mode == "no python module":
        sys.exit("ModuleNotFoundError: No module named 'snpe'")
    given = parse(tool, os.environ.get("STAND_IN_ERA", "1.32"))
    if record := os.environ.get("STAND_IN_RECORD"):
        environment = {name: os.environ.get(name) for name in ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")}
        Path(record).write_text(json.dumps({"arguments": sys.argv[1:], "folder": str(Path.cwd()), **environment}))
    print(f"{tool}: reading {given.network}", flush=True)
    output = Path(given.output)
    match mode:
        case "convert" | "other era" | "truncated" | "rounded weights" | "lost output":
            output.write_bytes(convert(tool, given, mode))
        case "fail":
            output.write_bytes(b"half a file")
            print("\x1b[31mERROR_OP_NOT_SUPPORTED: Operation\x07 Xyz is not supported\x1b[0m\n\n", file=sys.stderr)
            sys.exit(7)
        case "silent failure":
            sys.exit(1)
        case "no output":
            print("INFO_CONVERSION_SUCCESS: Conversion completed successfully")
        case "garbage":
            output.write_text("this is not a container")
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            Path(os.environ["STAND_IN_RECORD"]).write_text(str(child.pid))
            time.sleep(600)
        case _:
            sys.exit(f"STAND_IN={mode}: no such behaviour")
