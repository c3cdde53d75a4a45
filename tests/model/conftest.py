import shutil

import pytest

from bilayer.model import NETWORKS, load_model, make_source, read_checkpoint, save_checkpoint
from bilayer.runtime import crop_face
from tests import golden


@pytest.fixture(scope="session")
def case_a():
    """Both align_corners of the tiny published model, by that setting."""
    runs = golden.CASE_A / "runs"
    return {flag: load_model(runs, NETWORKS, overrides={"align_corners": flag}) for flag in (False, True)}


@pytest.fixture(scope="session")
def case_a_source(case_a):
    case = golden.load("case_a/preproc.npz")
    crop = crop_face(case["source_image"], case["source_landmarks"], 64)
    return make_source(crop, case_a[False].config, case["source_segs"][0, 0, 0])


@pytest.fixture
def runs(tmp_path):
    """The authors' folder of experiments, to change."""
    shutil.copytree(golden.CASE_A / "runs", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def ours(tmp_path):
    """The same model in a .safetensors."""
    config, tensors = read_checkpoint(golden.CASE_A / "runs")
    save_checkpoint(tmp_path / "ours.safetensors", config, tensors)
    return tmp_path / "ours.safetensors"
