"""Copies of a store's files are there for a block, and what is said of them names the store."""

import fsspec
import pytest

from bilayer.runtime.errors import BundleError, LandmarkError
from bilayer.runtime.files.copies import copying
from bilayer.runtime.files.reading import FileKind


def test_of_two_copies_the_longer_name_is_replaced_first(tmp_path):
    """Where a copy's path begins as another's does, what is behind it is no part of a name."""
    memory = fsspec.filesystem("memory")
    for name in ("one/x.bin", "two/x.bin.old"):
        memory.pipe_file(f"/copies/{name}", b"")
    with copying() as copies:
        short = copies.fetch("memory://copies/one/x.bin", "1", FileKind.ANY)
        long = copies.fetch("memory://copies/two/x.bin.old", "1", FileKind.ANY)
        assert str(long).startswith(str(short))
        assert copies.as_asked([f"{long} and {short}"]) == [
            "memory://copies/two/x.bin.old and memory://copies/one/x.bin"
        ]


def test_errors_and_texts_name_the_url(tmp_path):
    memory = fsspec.filesystem("memory")
    for name in ("a/x.bin", "a/x.bin.old"):
        memory.pipe_file(f"/copies/{name}", name.encode())
    (tmp_path / "own.bin").write_bytes(b"own")
    with pytest.raises(BundleError) as told, copying() as copies:  # noqa: PT012
        short, long = (copies.fetch(f"memory://copies/a/{name}", "1", FileKind.ANY) for name in ("x.bin", "x.bin.old"))
        own = copies.fetch(str(tmp_path / "own.bin"), "2", FileKind.ANY)
        assert [file.read_bytes() for file in (short, long, own)] == [b"a/x.bin", b"a/x.bin.old", b"own"]
        assert copies.as_asked({"of": [str(long), (str(short), 1, None)], "own": str(own)}) == {
            "of": ["memory://copies/a/x.bin.old", ("memory://copies/a/x.bin", 1, None)],
            "own": str(tmp_path / "own.bin"),
        }
        raise BundleError(f"{long}: unlike {short}")
    assert str(told.value) == "memory://copies/a/x.bin.old: unlike memory://copies/a/x.bin"
    assert not copies.folder.exists()
    assert own.exists()
    with (
        pytest.raises(LandmarkError, match=r"^memory://copies/none: no such file; name one that is there$"),
        copying() as copies,
    ):
        copies.fetch("memory://copies/none", "1", FileKind.ANY, LandmarkError)
    assert not copies.folder.exists()
