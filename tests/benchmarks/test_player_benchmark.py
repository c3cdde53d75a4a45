"""The player's benchmark runs every installed engine on one avatar, and they agree."""

import json
import subprocess
import sys
from pathlib import Path

from bilayer.runtime.engines.choice import installed


def test_every_installed_engine_plays_the_same_frames():
    command = [sys.executable, "-m", "bilayer.benchmarks.speed.cli", "frame", "--preset", "demo", "--repeats", "3"]
    command += ["--size", "320", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)["benchmarks"]
    assert tuple(report["settings"][name] for name in ("image_size", "frame_size", "repeats")) == (256, 320, 3)
    rows = {row["name"]: row for row in report["rows"]}
    assert next(iter(rows)) == report["baseline"] == "onnxruntime fp32"
    assert ("openvino fp32" in rows) == installed("openvino")
    for name, row in rows.items():
        assert len(row["milliseconds"]) == 3
        assert row["network ms"] > 0
        if name.endswith("fp32"):
            assert float(row["bytes <= 1"].rstrip("%")) >= 99.9
            assert row["dB"] > 60
