"""A stand-in for bilayer-ncnn-runner on the test phone: ncnn's own package computes, on this machine's processor.

It takes the runner's options and writes its files. What it says of times is invented, and must be seen nowhere.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

INVENTED_US = 31337  # no duration of anything


def main():
    given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    mode = given["--mode"]
    if mode.startswith("vulkan"):
        print(f"error: mode {mode}: runtime is not available: there is no Vulkan device")
        sys.exit(5)
    if os.environ.get("STAND_IN") == "fail":
        sys.exit("error: avatar.param: ncnn cannot read it, or lacks one of its layers")
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = mode == "cpu-fp16"
    net.opt.use_bf16_storage = False
    assert net.load_param(given["--param"]) == 0
    assert net.load_model(given["--bin"]) == 0
    outputs = [word.split("=") for word in given["--outputs"].split(",")]
    seen, lines = set(), Path(given["--input-list"]).read_text().splitlines()
    for number, line in enumerate(lines):
        path = line.split(":=")[1]
        pose = np.fromfile(path, "<f4")
        assert pose.shape == (int(given["--input-size"]),)
        if path in seen:
            continue
        seen.add(path)
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(pose))
        place = Path(given["--output-dir"]) / f"Result_{number}"
        place.mkdir()
        for tensor, blob in outputs:
            code, result = extractor.extract(blob)
            assert code == 0
            np.asarray(result).astype("<f4").tofile(place / f"{tensor}.raw")
    times = dict.fromkeys(("min", "median", "p90", "p99", "max", "mean"), INVENTED_US)
    machine = {"architecture": "aarch64", "kernel": "", "cpu": "", "emulation": []}
    log = {
        "format": "bilayer-ncnn-runner", "version": 1, "ncnn": os.environ.get("STAND_IN_VERSION", "stand-in"),
        "machine": machine, "mode": mode, "device": "CPU, 1 threads", "threads": 1, "powersave": 2,
        "executions": len(lines), "total_us": times, "init_us": INVENTED_US,
    }  # fmt: skip
    (Path(given["--output-dir"]) / "ncnn.json").write_text(json.dumps(log))


if __name__ == "__main__":
    main()
