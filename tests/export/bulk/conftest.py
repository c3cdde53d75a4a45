import pytest

from tests.export.bulk.bulk_photos import NAMES, files, singles, write_photos


@pytest.fixture
def folder(tmp_path):
    """Photos that a test may change."""
    return write_photos(tmp_path / "photos")


@pytest.fixture(scope="session")
def alone(once_for_all):
    """The files of each photo's avatar by an export of its own, by the photo's name."""
    place = once_for_all("alone", lambda folder: singles(write_photos(folder / "photos"), folder / "out"))
    return {name: files(place / "out" / name) for name in NAMES}
