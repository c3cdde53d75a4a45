"""`bilayer-export --warp`: what moves the warp of an avatar, asked for and not."""

from functools import partial

import numpy as np
import pytest
from PIL import Image

from bilayer.runtime import read_bundle
from tests import forked, golden

CASE = golden.load("case_a/preproc.npz")
run_cli = partial(forked.run, "export")


@pytest.mark.parametrize(
    ("given", "anchored"),
    [
        ([], True),
        (["--refine", "fit"], True),
        (["--refine", "updater"], False),
        (["--refine", "none"], False),
        (["--warp", "auto"], True),
        (["--warp", "network"], False),
        (["--refine", "none", "--warp", "anchored"], True),
    ],
    ids=str,
)
def test_fitted_textures_are_anchored_where_nothing_is_asked_for(tmp_path, given, anchored):
    Image.fromarray(CASE["source_image"]).save(tmp_path / "face.png")
    np.save(tmp_path / "face.npy", CASE["source_landmarks"])
    of_case = ["--landmarks", tmp_path / "face.npy", "--checkpoint", golden.CASE_A / "runs", "--no-mask"]
    done = run_cli(tmp_path / "face.png", *of_case, "--target", "none", "--out", tmp_path / "out/avatar.onnx", *given)
    assert done.returncode == 0, done.stderr
    anchors = read_bundle(tmp_path / "out").contract.anchors
    assert (anchors is not None) == anchored
