"""`bilayer-train` as a user runs it, in processes of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bilayer import training
from bilayer.model import load_model
from bilayer.training.build import choose_precision
from bilayer.training.settings import read_settings
from tests import forked
from tests.training import tiny


def run(*arguments, check=True, launcher=None):
    """Forked; by a launcher, its words, in processes of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if launcher:
        command = [sys.executable, "-W", "error", *launcher, *map(str, arguments)]
        process = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    else:
        process = forked.run("train", *arguments, strict=True, env=environment)
    if check:
        assert process.returncode == 0, process.stderr
    return process


CONFIG = replace(tiny.CONFIG, **tiny.SHALLOW)


toml = partial(tiny.toml, model=tiny.SHALLOW)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(toml())
    return path


@pytest.fixture(scope="module")
def trained(once_for_all, tiny_heads):
    """The folder of a whole run of `config`, without validation. Not to be changed."""

    def make(folder):
        (folder / "tiny.toml").write_text(toml())
        run("base", "--config", folder / "tiny.toml", "--data", tiny_heads, "--out", folder / "run", "--no-validate")

    return once_for_all("trained", make) / "run"


@pytest.fixture(scope="module")
def enhanced(once_for_all, tiny_heads, trained):
    """The folder of a whole run of the enhancer, on the base of `trained`. Not to be changed."""

    def make(folder):
        (folder / "tiny.toml").write_text(toml())
        out, base = folder / "run", trained / "checkpoint.safetensors"
        run("enhancer", "--config", folder / "tiny.toml", "--data", tiny_heads, "--out", out, "--base", base)

    return once_for_all("enhanced", make) / "run"


def losses(run_folder):
    lines = [json.loads(line) for line in (run_folder / "log.jsonl").read_text().splitlines()]
    return {line["iteration"]: line["losses"] for line in lines if "losses" in line}


def test_a_run_writes_what_it_says(tmp_path, config, tiny_heads):
    out = tmp_path / "run"
    process = run("base", "--config", config, "--data", tiny_heads, "--out", out, launcher=("-m", "bilayer.training"))
    assert "checkpoint.safetensors" in process.stdout
    assert "next: bilayer-export" in process.stderr
    assert list(losses(out)) == [0, 1, 2, 3]
    assert losses(out)[0].keys() == {"D_ADV", "G_ADV", "G_FM", "G_L1", "G_BCE", "G_WPR"}
    grid = np.asarray(Image.open(out / "pictures" / "00000004.png"))
    assert grid.shape == (2 * 64, 9 * 64, 3)
    model = load_model(out / "checkpoint.safetensors")
    assert model.config == CONFIG
    assert not [line for line in process.stderr.splitlines() if "Traceback" in line]
    metrics = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines() if "metrics" in line]
    assert metrics[0]["metrics"]["ours psnr"] > 0


@pytest.mark.slow
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path, config, tiny_heads, trained):
    """Nor does it matter that one is validated, and the other is not."""
    whole, halves = trained, tmp_path / "halves"
    run("base", "--config", config, "--data", tiny_heads, "--out", halves, "--iterations", 2)
    run("base", "--config", config, "--data", tiny_heads, "--out", halves)
    assert losses(halves) == losses(whole)
    one, two = (torch.load(out / "state.pt", weights_only=True) for out in (whole, halves))
    for name, tensor in one["model"].items():
        assert torch.equal(tensor, two["model"][name]), name
    assert (whole / "checkpoint.safetensors").read_bytes() == (halves / "checkpoint.safetensors").read_bytes()


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_state(tmp_path, tiny_heads):
    config, out = tmp_path / "long.toml", tmp_path / "run"
    config.write_text(toml(schedule={"iterations": 1000, "checkpoint_every": 1}))
    command = ["base", "--config", config, "--data", tiny_heads, "--out", out, "--no-validate"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bilayer.training", *map(str, command)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (out / "log.jsonl").exists() or len(losses(out)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    state = torch.load(out / "state.pt", weights_only=True)
    reached = state["iteration"]
    assert reached >= 2
    run(*command, "--iterations", reached + 1)
    assert sorted(losses(out)) == list(range(reached + 1))


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_double_batch(tmp_path, config, tiny_heads, trained):
    """Same losses step by step: gradients, batch norms and the relativistic means are those of the whole batch."""
    one, two = trained, tmp_path / "two"
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "bilayer.training")
    run(
        "base", "--config", config, "--data", tiny_heads, "--out", two, "--no-validate", "--device", "cpu",
        launcher=torchrun,
    )  # fmt: skip
    for iteration, expected in losses(one).items():
        for name, value in losses(two)[iteration].items():
            tolerance = 1e-4 * 10**iteration  # rounding, which Adam's first steps amplify
            assert value == pytest.approx(expected[name], rel=min(tolerance, 0.05)), (iteration, name)


@pytest.mark.slow
def test_the_enhancer_learns_on_a_frozen_base(trained, enhanced):
    assert losses(enhanced)[0].keys() == {"D_ADV", "G_ADV", "G_FM"}
    before = load_model(trained / "checkpoint.safetensors")
    after = load_model(enhanced / "checkpoint.safetensors", networks=[*before.networks, "texture_enhancer"])
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name]), name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\npreset = 'huge'\n", "preset: expected small or medium"),
        ("[losses]\nadversary = 1\n", "losses.adversary: unknown; perhaps adversarial is meant"),
        ("[schedule]\niterations = 'many'\n", "iterations: expected int, found 'many'"),
        ("[losses]\nwarping.factor = true\n", "factor: expected float, found True"),
        ("[model]\nimage_size = 100\n", "image_size = 100"),
        ("precision = 'fp8'\n", "precision: expected auto or bf16 or fp32, found 'fp8'"),
        ("[data\n", "not readable as TOML"),
        ("[schedule]\nlog_every = 0\n", "schedule.log_every: expected int >= 1, found 0"),
        ("[optimisation]\nlearning_rate = nan\n", "optimisation.learning_rate: expected float > 0.0, found nan"),
        ("losses = 3\n", "losses: expected object, found 3"),
        ("speed = 1\n", "speed: unknown; perhaps seed is meant"),
    ],
)
def test_wrong_settings_are_named(tmp_path, tiny_heads, text, message):
    config = tmp_path / "wrong.toml"
    config.write_text(text)
    process = run("base", "--config", config, "--data", tiny_heads, "--out", tmp_path / "run", check=False)
    assert process.returncode == 3
    assert message in process.stderr
    assert process.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("stage", "papers"), [("base", 48), ("enhancer", 32)])
def test_a_batch_that_the_file_leaves_out_is_the_papers_of_the_stage(tmp_path, stage, papers):
    (tmp_path / "a.toml").write_text("seed = 1\n")
    assert read_settings(tmp_path / "a.toml", stage).data.batch_size == papers
    (tmp_path / "a.toml").write_text("[data]\nbatch_size = 5\n")
    assert read_settings(tmp_path / "a.toml", stage).data.batch_size == 5


def test_a_begun_run_keeps_its_settings(tmp_path, config, tiny_heads, trained):
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    config.write_text(toml(losses={"feature_matching": 5.0}))
    process = run("base", "--config", config, "--data", tiny_heads, "--out", out, check=False)
    assert process.returncode == 3
    assert "losses.feature_matching: the run began with 10.0, asked for is 5.0" in process.stderr


def test_missing_data_and_files_are_named(tmp_path, config, tiny_heads):
    process = run("base", "--config", config, "--data", tmp_path / "none", "--out", tmp_path / "run", check=False)
    assert (process.returncode, str(tmp_path / "none") in process.stderr) == (3, True)
    process = run("base", "--config", tmp_path / "no.toml", "--data", tiny_heads, "--out", tmp_path / "r", check=False)
    assert (process.returncode, "no.toml" in process.stderr) == (3, True)


def test_a_perceptual_loss_without_weights_is_said_to_be_left_out(tmp_path, tiny_heads):
    config = tmp_path / "paper.toml"
    config.write_text(toml(losses={"perceptual": 10.0}, schedule={"iterations": 1}))
    process = run("base", "--config", config, "--data", tiny_heads, "--out", tmp_path / "run", "--no-validate")
    assert "training without the loss G_VGG19: [perceptual] vgg19 names no weight file" in process.stderr


@pytest.mark.slow
def test_bfloat16_trains_to_nearly_the_same_first_loss(tmp_path, tiny_heads, trained, enhanced):
    half = tmp_path / "half.toml"
    half.write_text('precision = "bf16"\n' + toml(schedule={"iterations": 1}))
    common = ("--config", half, "--data", tiny_heads, "--no-validate", "--out")
    run("base", *common, tmp_path / "base")
    run("enhancer", *common, tmp_path / "enhancer", "--base", trained / "checkpoint.safetensors")
    for full, stage in ((trained, "base"), (enhanced, "enhancer")):
        expected = losses(full)[0]
        for name, value in losses(tmp_path / stage)[0].items():
            assert value == pytest.approx(expected[name], rel=0.1), (name, stage)


@pytest.mark.parametrize(("device", "able"), [("cpu", True), ("cpu", False), ("cuda", True), ("cuda", False)])
@pytest.mark.parametrize("asked", ["auto", "fp32", "bf16"])
def test_bfloat16_is_chosen_where_the_device_computes_in_it(monkeypatch, tmp_path, device, able, asked):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able and device == "cpu")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able and device == "cuda")
    said = []
    settings = replace(tiny.settings(tmp_path), precision=asked)
    chosen = choose_precision(settings, torch.device(device), said.append)
    expected = {"auto": "bf16" if able else "fp32"}.get(asked, asked)
    assert chosen == replace(settings, precision=expected)
    assert [line.split(":")[0] for line in said] == {
        ("auto", True): ["precision bf16"], ("auto", False): ["precision fp32"], ("bf16", False): ["warning"],
    }.get((asked, able), [])  # fmt: skip


@pytest.mark.slow
def test_a_run_says_and_logs_the_precision_that_was_chosen(tmp_path, tiny_heads):
    config, out = tmp_path / "auto.toml", tmp_path / "run"
    config.write_text('precision = "auto"\n' + toml(schedule={"iterations": 1}))
    process = run("base", "--config", config, "--data", tiny_heads, "--out", out, "--no-validate")
    first = json.loads((out / "log.jsonl").read_text().splitlines()[0])
    assert first["device"] == ("cuda:0" if torch.cuda.is_available() else "cpu")
    assert f"precision {first['precision']}: this " in process.stderr
    assert first["precision"] in ("fp32", "bf16")
    assert json.loads((out / "settings.json").read_text())["precision"] == "auto"  # goes on elsewhere, too


@pytest.mark.slow
def test_the_tiny_configurations_train_both_stages(tmp_path, tiny_heads):
    """docs/training.md's minute, shortened to a few steps."""
    configs = Path(training.__file__).parent / "configs"
    base, enhancer = tmp_path / "base", tmp_path / "enhancer"
    options = ("--data", tiny_heads, "--iterations", 4, "--no-validate", "--out")
    run("base", "--config", configs / "tiny-1-base-64.toml", *options, base)
    checkpoint = ("--base", base / "checkpoint.safetensors")
    run("enhancer", "--config", configs / "tiny-2-enhancer-64.toml", *options, enhancer, *checkpoint)
    model = load_model(enhancer / "checkpoint.safetensors")
    assert model.config.image_size == 64
    assert "texture_enhancer" in model.networks


@pytest.mark.parametrize(("device", "enough"), [("cuda", 1), ("cuda:7", 8)])
def test_a_device_that_is_not_there_is_named(tmp_path, config, tiny_heads, device, enough):
    if torch.cuda.device_count() >= enough:
        pytest.skip("there are that many GPUs")
    command = ["base", "--config", config, "--data", tiny_heads, "--out", tmp_path / "run", "--device", device]
    process = run(*command, check=False)
    assert (process.returncode, process.stderr.count("\n")) == (3, 1)
    assert f"--device {device}: cannot be used" in process.stderr


def test_help_is_there_and_names_both_stages():
    process = run("--help")
    assert "base" in process.stdout
    assert "enhancer" in process.stdout
