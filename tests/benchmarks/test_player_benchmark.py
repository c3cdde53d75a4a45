"""The player's benchmark runs every installed engine on one avatar, and they agree."""

import json
import subprocess
import sys
from pathlib import Path

from bilayer.runtime.engines import installed


def test_every_installed_engine_plays_the_same_frames():
    command = [sys.executable, "-m", "bilayer.benchmarks.player", "--preset", "demo", "--frames", "3", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["size"] == 256
    rows = {(row["engine"], row["precision"]): row for row in report["engines"]}
    assert next(iter(rows)) == ("onnxruntime", "f32")
    assert (("openvino", "f32") in rows) == installed("openvino")
    for (_, precision), row in rows.items():
        assert precision != "f32" or row["bytes_within_a_level"] >= 0.999
        assert 0 < row["overhead"] < 1
        assert row["frames_per_second"] > 0
