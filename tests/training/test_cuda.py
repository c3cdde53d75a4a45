"""Training on a GPU, where there is one: the same numbers as on the CPU."""

import json

import numpy as np
import pytest
import torch

from tests.training import tiny
from tests.training.test_train import losses, run

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use"),
    pytest.mark.slow,
]
# cuDNN multiplies in TF32, with 10 bits of mantissa
TOLERANCE = 1e-2
FIRST = 0  # later steps differ: Adam's first are the sign of a gradient, and rounding turns some


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(tiny.toml())
    return path


def test_base_begins_with_the_losses_of_the_cpu(tmp_path, config, tiny_heads):
    for device in ("cpu", "cuda"):
        run("base", "--config", config, "--data", tiny_heads, "--out", tmp_path / device, "--device", device)
    on_cpu, on_gpu = losses(tmp_path / "cpu"), losses(tmp_path / "cuda")
    assert on_gpu[FIRST] == pytest.approx(on_cpu[FIRST], rel=TOLERANCE)
    assert all(np.isfinite(list(step.values())).all() for step in on_gpu.values())


def test_enhancer_begins_with_the_losses_of_the_cpu(tmp_path, config, tiny_heads):
    base = tmp_path / "base"
    run("base", "--config", config, "--data", tiny_heads, "--out", base, "--device", "cpu")
    for device in ("cpu", "cuda"):
        run(
            "enhancer", "--config", config, "--data", tiny_heads, "--base", base / "checkpoint.safetensors",
            "--out", tmp_path / device, "--device", device,
        )  # fmt: skip
    on_cpu, on_gpu = losses(tmp_path / "cpu"), losses(tmp_path / "cuda")
    assert on_gpu[FIRST] == pytest.approx(on_cpu[FIRST], rel=TOLERANCE)


def test_auto_takes_the_gpu_and_bfloat16_learns_there(tmp_path, tiny_heads):
    config = tmp_path / "tiny.toml"
    pixels = {"adversarial": 0.0, "feature_matching": 0.0, "reconstruction": 10.0, "coordinates": 10.0}
    schedule = {"iterations": 60, "checkpoint_every": 60, "validate_every": 60, "pictures_every": 60}
    optimisation = {"learning_rate": 2e-3, "batch_norm_momentum": 0.1}
    config.write_text('precision = "bf16"\n' + tiny.toml(losses=pixels, schedule=schedule, optimisation=optimisation))
    process = run("base", "--config", config, "--data", tiny_heads, "--out", tmp_path / "run")
    assert "cuda" in process.stderr  # which auto took
    totals = [sum(step.values()) for step in losses(tmp_path / "run").values()]
    assert np.mean(totals[-10:]) < 0.7 * np.mean(totals[:10])


def test_a_stopped_run_goes_on(tmp_path, config, tiny_heads):
    out = tmp_path / "run"
    run("base", "--config", config, "--data", tiny_heads, "--out", out, "--iterations", "2", "--no-validate")
    run("base", "--config", config, "--data", tiny_heads, "--out", out, "--no-validate")
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines if "losses" in line] == [0, 1, 2, 3]


def test_evaluation_finds_what_it_finds_on_the_cpu(tmp_path, config, tiny_heads):
    base = tmp_path / "base"
    run("base", "--config", config, "--data", tiny_heads, "--out", base, "--no-validate")
    found = {}
    for device in ("cpu", "cuda"):
        process = run(
            "checkpoint", base / "checkpoint.safetensors", "--data", tiny_heads, "--every", "2", "--no-landmark-errors",
            "--device", device, "--json", launcher=("-m", "bilayer.training.evaluate.cli"),
        )  # fmt: skip
        found[device] = {row["method"]: row for row in json.loads(process.stdout)["methods"]}
    for method, expected in found["cpu"].items():
        for metric in ("l1", "psnr", "ssim"):
            assert found["cuda"][method][metric] == pytest.approx(expected[metric], rel=TOLERANCE), (method, metric)
