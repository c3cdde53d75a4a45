"""Both stages on built-in heads, from nothing to a picture: loss falls, checkpoint exports, avatar renders."""

import json
from pathlib import Path

import numpy as np
import pytest

from bilayer.runtime import AvatarPlayer
from tests.training import tiny
from tests.training.test_train import losses, run

# Without the adversarial loss, whose value says little of how far training is
PIXELS = {
    "adversarial": 0.0, "feature_matching": 0.0, "reconstruction": 10.0, "coordinates": 10.0,
}  # fmt: skip


def mean_total(run_folder, iterations):
    steps = losses(run_folder)
    return np.mean([sum(steps[i].values()) for i in iterations])


@pytest.mark.slow
def test_both_stages_learn_and_the_result_exports_and_renders(tmp_path, tiny_heads):
    base, enhancer, bundle = tmp_path / "base", tmp_path / "enhancer", tmp_path / "out"
    bundle.mkdir()
    config = tmp_path / "smoke.toml"
    schedule = {"iterations": 60, "checkpoint_every": 60, "validate_every": 60, "pictures_every": 60}
    optimisation = {"learning_rate": 2e-3, "batch_norm_momentum": 0.1}
    same = {"model": tiny.SHALLOW, "losses": PIXELS, "optimisation": optimisation}
    config.write_text(tiny.toml(**same, schedule=schedule))
    run("base", "--config", config, "--data", tiny_heads, "--out", base, "--no-validate")
    assert mean_total(base, range(50, 60)) < 0.7 * mean_total(base, range(0, 10))

    config.write_text(tiny.toml(**same, schedule={**schedule, "iterations": 30}))
    checkpoint = base / "checkpoint.safetensors"
    run("enhancer", "--config", config, "--data", tiny_heads, "--out", enhancer, "--base", checkpoint)
    assert mean_total(enhancer, range(20, 30)) < mean_total(enhancer, range(0, 5))

    photo = Path(tiny_heads) / "imgs" / "test" / "head00100" / "0" / "0" / "00000.png"
    keypoints = Path(str(photo).replace("imgs", "keypoints")).with_suffix(".npy")
    run(
        photo, "--landmarks", keypoints, "--checkpoint", enhancer / "checkpoint.safetensors", "--target", "none",
        "--no-mask", "--out", bundle / "avatar.dlc", launcher=("-m", "bilayer.export"),
    )  # fmt: skip
    assert json.loads((bundle / "avatar.json").read_text())
    avatar = AvatarPlayer.load(bundle / "avatar.json")
    first, second = (avatar.render(avatar.source_pose + shift) for shift in (0.0, 0.05))
    assert first.shape == (64, 64, 4)
    assert (first != second).any()
