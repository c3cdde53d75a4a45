import pytest
import torch

from bilayer.export.integers.calibrate import extreme_poses, motion_poses
from bilayer.export.integers.heads import with_heads_apart
from bilayer.export.integers.quantize import quantize
from bilayer.runtime.bundle import read_bundle
from tests.benchmarks.avatars import export_tiny
from tests.export.integers.integer_bundles import GIVEN, WIDE
from tests.export.test_graph import generators  # noqa: F401 (a fixture)


@pytest.fixture(scope="session")
def source(case_a_avatar):
    return case_a_avatar[2].pose


@pytest.fixture(scope="session")
def poses(source):
    return torch.cat([motion_poses(source, GIVEN, "calibrate"), extreme_poses(source, GIVEN)])


@pytest.fixture(scope="session")
def integers(generators, poses):  # noqa: F811
    with torch.inference_mode():
        return quantize(with_heads_apart(generators["deconv"]), "w8a16", poses, WIDE)


@pytest.fixture(scope="session")
def exported(once_for_all):
    """The bundle of the golden case in integers, of all test processes: not to be changed."""
    return read_bundle(once_for_all("w8a16", lambda folder: export_tiny(folder, precision="w8a16")) / "avatar")
