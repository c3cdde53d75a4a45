import pytest

from bilayer.runtime.bundle import read_bundle
from tests.benchmarks.avatars import copied
from tests.export.conftest import case_a_avatar

__all__ = ["case_a_avatar"]


@pytest.fixture(scope="session")
def made(case_a_folder):
    """Folder of the photo, and the bundle made of it, of all test processes: not to be changed."""
    return case_a_folder, read_bundle(case_a_folder / "avatar")


@pytest.fixture
def bundle(made, tmp_path):
    """A copy, to plant a fault in."""
    return copied(made[1], tmp_path / "avatar")
