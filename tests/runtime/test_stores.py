"""Files of stores, by fsspec's memory:// and file://, are read whole and to a bound; what is wrong is one line."""

import builtins
import os
import sys

import fsspec
import pytest

from bilayer.runtime.errors import BundleError, InputError, OutputError, ToolMissingError
from bilayer.runtime.files import stores
from bilayer.runtime.files.reading import FileKind

MEMORY = fsspec.filesystem("memory")


def fill(place, files):
    for name, content in files.items():
        MEMORY.pipe_file(f"{place}/{name}", content)
    return f"memory:/{place}"


@pytest.mark.parametrize("name", ["m", "of stores/deep", "memory"])  # which is part of the URL, too
def test_files_are_found_with_their_paths_below(name, tmp_path):
    files = {"b/x.bin": b"x", "a.bin": b"a", f"{name}/c.bin": b"c"}
    place = fill(f"/{name}", files)
    below = sorted(files)
    assert [path for _, path in stores.find_below(place)] == below
    assert [path for _, path in stores.find_below(f"{place}/")] == below
    assert [stores.read(url, FileKind.ANY) for url, _ in stores.find_below(place)] == [files[path] for path in below]
    assert [path for _, path in stores.find_below(f"{place}/a.bin")] == [""]
    assert stores.find_below(f"{place}/none") == []
    for path, content in files.items():
        stores.write(f"file://{tmp_path}/{path}", content)
    assert [path for _, path in stores.find_below(f"file://{tmp_path}")] == below
    assert stores.find_below(str(tmp_path)) == [(str(tmp_path / path), path) for path in below]


@pytest.mark.parametrize("size", [0, 1, stores._PIECE, 2 * stores._PIECE + 1])
def test_a_copy_has_the_content(size, tmp_path):
    content = os.urandom(size)
    place = fill("/copies", {"one.bin": content})
    copy = stores.fetched(f"{place}/one.bin", tmp_path / "copy", FileKind.ANY)
    assert copy == tmp_path / "copy/one.bin"
    assert copy.read_bytes() == stores.read(f"{place}/one.bin", FileKind.ANY) == content
    assert [file.name for file in copy.parent.iterdir()] == ["one.bin"]
    assert stores.fetched(f"file://{copy}", tmp_path / "again", FileKind.ANY).read_bytes() == content


def read(place, tmp_path):
    return stores.read(place, FileKind.SETTINGS, BundleError)


def fetch(place, tmp_path):
    return stores.fetched(place, tmp_path / "copy", FileKind.SETTINGS, BundleError)


@pytest.mark.parametrize("take", [read, fetch])
def test_what_is_no_file_of_a_fit_size_is_told_by_its_url(take, tmp_path):
    large = fill("/told", {"large.json": bytes(FileKind.SETTINGS.most + 1)})
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for place, words in (
        (f"{large}/large.json", "has 1048577 bytes, a file of settings has 1048576 at most"),
        (f"{large}/none.json", "no such file"),
        (f"file://{tmp_path}/none.json", "no such file"),
        (f"file://{tmp_path}/folder", "is a folder; name a file of settings"),
        (f"file://{tmp_path}/pipe", "is a device, pipe or socket"),
        (f"file://{tmp_path}/link", "is a device, pipe or socket"),
        ("file:///dev/zero", "is a device, pipe or socket"),
        ("nosuch://x/y.json", "Protocol not known: nosuch"),
    ):
        with pytest.raises(BundleError) as told:
            take(place, tmp_path)
        assert str(told.value).startswith(f"{place}: ")
        assert words in str(told.value)
        assert "\n" not in str(told.value)
    assert not list((tmp_path / "copy").glob("*"))


def test_a_store_that_knows_no_size_is_read_to_the_bound(tmp_path, monkeypatch):
    place = fill("/unknown", {"large.json": bytes(FileKind.SETTINGS.most + 1), "fit.json": b"{}"})
    info = type(MEMORY).info
    monkeypatch.setattr(type(MEMORY), "info", lambda self, path, **more: {**info(self, path, **more), "size": None})
    with pytest.raises(InputError, match=r"large\.json: has \d+ bytes"):
        fetch(f"{place}/large.json", tmp_path)
    assert fetch(f"{place}/fit.json", tmp_path).read_bytes() == b"{}"


def test_a_full_disk_is_an_output_error(tmp_path):
    place = fill("/full", {"one.bin": b"1"})
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        stores.fetched(f"{place}/one.bin", tmp_path / "file", FileKind.ANY)


@pytest.mark.parametrize(
    ("place", "module", "package"),
    [
        ("s3://bucket/a", "s3fs", "s3fs"),
        ("gs://bucket/a", "gcsfs", "gcsfs"),
        ("smb://host/a", "smbclient", "smbprotocol"),
        ("memory://a", "fsspec", "fsspec"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_pip_line(place, module, package, monkeypatch, tmp_path):
    load = builtins.__import__

    def without(name, *more):
        if name.partition(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return load(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setitem(sys.modules, module, None)
    for take in (read, fetch, lambda place, _: stores.find_below(place), lambda place, _: stores.holds(place)):
        with pytest.raises(ToolMissingError) as told:
            take(place, tmp_path)
        assert str(told.value).startswith(f"{place}: ")
        assert str(told.value).endswith(f"; pip install {package}")


def test_the_first_url_whose_package_is_missing_is_named(monkeypatch):
    def missing(url):
        raise ImportError(f"Install {url}")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(ToolMissingError, match=r"^s3://first: "):
        stores.check_stores(["folder", "s3://first", "s3://second"])
    with pytest.raises(ToolMissingError, match=r"^s3://second: "):
        stores.check_stores(["s3://second", "s3://first", "folder"])
    stores.check_stores(["folder", ""])


def test_no_answer_is_not_told_as_no_file(monkeypatch):
    """By HTTP, fsspec says FileNotFoundError of both; behind that of a host without an answer is the system's own."""

    def unanswered(*_):
        raise FileNotFoundError("http://nowhere/a.png") from OSError("Cannot connect to host nowhere:80")

    monkeypatch.setattr(stores, "_open", unanswered)
    with pytest.raises(
        InputError, match=r"http://nowhere/a\.png: cannot be reached \(Cannot connect to host .*store can"
    ):
        stores.read("http://nowhere/a.png", FileKind.ANY)

    def not_there(*_):
        raise FileNotFoundError("http://there/a.png") from FileNotFoundError("http://there/a.png")

    monkeypatch.setattr(stores, "_open", not_there)
    with pytest.raises(InputError, match=r"http://there/a\.png: no such file; name one that is there"):
        stores.read("http://there/a.png", FileKind.ANY)


def test_the_last_file_of_a_folder_is_put_last(tmp_path, monkeypatch):
    """An avatar's contract, by whose presence the avatar is known to be whole."""
    put = []
    for name in ("a.json", "b.onnx", "c.dlc"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(type(MEMORY), "put_file", lambda _, file, place: put.append(place.rpartition("/")[2]))
    stores.put_folder(tmp_path, "memory://put", "a.json")
    assert put == ["b.onnx", "c.dlc", "a.json"]
