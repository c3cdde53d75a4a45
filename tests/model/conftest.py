import pytest

from bilayer.model import NETWORKS, load_model, make_source
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
