"""The player's own parity gate: what is offered in less than float32 is compared with float32 first."""

import numpy as np
import pytest
from click.testing import CliRunner

from bilayer.runtime.errors import ParityError
from bilayer.runtime.player import AvatarPlayer
from bilayer.runtime.reduced_precision import check_reduced_precision
from bilayer.runtime.rendering.cli import main


class Coarse:
    """ONNX Runtime whose outputs are rounded to steps of `step`; a stand-in for an engine of low precision."""

    name, precision = "coarse", "bf16"

    def __init__(self, network, step):
        self.network, self.step = network, step

    def run(self, pose):
        outputs = self.network.run(pose)
        for array in outputs.by_name.values():
            np.rint(array / self.step, out=array)
            array *= self.step
        return outputs


@pytest.fixture
def avatars(exported):
    return [AvatarPlayer.load(exported.folder, engine="onnxruntime") for _ in range(2)]


@pytest.mark.parametrize(("step", "words"), [(1e-5, ""), (5e-2, "expected at least 0.95")])
def test_little_error_passes_and_more_is_warned_of(avatars, step, words):
    avatar, reference = avatars
    avatar._network = Coarse(avatar._network, step)
    said = check_reduced_precision(avatar, reference)
    assert words in said
    assert bool(said) == bool(words)


def test_where_nothing_is_left_of_the_picture_it_is_refused(avatars):
    avatar, reference = avatars
    avatar._network = Coarse(avatar._network, 1.0)
    with pytest.raises(ParityError, match="dB, expected at least 20 dB; take --precision fp32") as raised:
        check_reduced_precision(avatar, reference)
    assert raised.value.exit_code == 4


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_number_that_is_not_finite_is_refused(avatars, value):
    class Overflowing(Coarse):
        def run(self, pose):
            outputs = self.network.run(pose)
            outputs.lf_rgb[0, 1, 2] = value
            return outputs

    avatar, reference = avatars
    avatar._network = Overflowing(avatar._network, 1.0)
    with pytest.raises(ParityError, match="3 numbers are not finite; take --precision fp32"):
        check_reduced_precision(avatar, reference)


def test_the_same_frames_pass_without_a_word(avatars):
    assert check_reduced_precision(*avatars) == ""


def test_the_command_holds_a_reduced_precision_to_the_gate(exported, tmp_path, monkeypatch):
    held = []
    monkeypatch.setattr(
        "bilayer.runtime.reduced_precision.check_reduced_precision",
        lambda avatar, reference: held.append((avatar.precision, reference.precision)) or "so much is lost",
    )
    pytest.importorskip("ncnn", reason="the extra [ncnn] is not installed")
    arguments = [str(exported.folder), "--demo-motion", "--frames", "1", "--out", str(tmp_path / "frames")]
    result = CliRunner().invoke(main, [*arguments, "--precision", "fp16", "--threads", "1"])
    assert result.exit_code == 0, result.stderr
    assert held == [("fp16", "fp32")]
    assert "warning: so much is lost" in result.stderr
    CliRunner().invoke(main, [*arguments[:-1], str(tmp_path / "others")])
    assert len(held) == 1
