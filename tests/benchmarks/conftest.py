import pytest

from bilayer.runtime.bundle import read_bundle
from tests.benchmarks.avatars import copied, export_tiny
from tests.export.conftest import case_a_avatar

__all__ = ["case_a_avatar"]


@pytest.fixture(scope="session")
def made(once_for_all):
    """Folder of the photo, and the bundle made of it, of all test processes: not to be changed."""
    folder = once_for_all("case_a", export_tiny)
    return folder, read_bundle(folder / "avatar")


@pytest.fixture
def bundle(made, tmp_path):
    """A copy, to plant a fault in."""
    return copied(made[1], tmp_path / "avatar")
