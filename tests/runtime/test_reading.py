"""The door refuses what is no file of a fit size in one line, and reads no further than its bound."""

import errno
import hashlib
import os
import socket
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from PIL import Image

from bilayer.runtime.errors import BundleError, InputError
from bilayer.runtime.files.kinds import check_photo_file, kind_of
from bilayer.runtime.files.reading import (
    FileKind,
    check_folder,
    check_input,
    checked,
    is_file,
    is_folder,
    is_there,
    list_below,
    list_folder,
    open_file,
    read_bytes,
    read_text,
    size_of,
)


def lay_hostile(kind: str, folder: Path) -> Path:
    """Something of this kind at a path, at which a plain `open` would hang, fill the memory or raise."""
    path = folder / "given"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link to a pipe":
            os.mkfifo(folder / "pipe")
            path.symlink_to(folder / "pipe")
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        case "endless device":
            path.symlink_to("/dev/zero")
        case "device":
            path.symlink_to("/dev/null")
        case "terminal":
            path.symlink_to("/dev/tty")
        case "sparse file":
            path.touch()
            os.truncate(path, 1 << 42)
        case "link to itself":
            path.symlink_to(path)
        case "link to nothing":
            path.symlink_to(folder / "nothing")
        case "long name":
            path = folder / ("x" * 300)
        case "long path":
            path = folder.joinpath(*["x" * 200] * 30)
        case "below a file":
            (folder / "file").touch()
            path = folder / "file" / "given"
        case "zero byte":
            path = folder / "a\0b"
        case "half a surrogate pair":
            path = folder / "\ud800"
    return path


HOSTILE = {
    "folder": "is a folder; name a landmark track",
    "pipe": "is a device, pipe or socket",
    "link to a pipe": "is a device, pipe or socket",
    "socket": "is a device, pipe or socket",
    "endless device": "is a device, pipe or socket",
    "device": "is a device, pipe or socket",
    "terminal": "is a device, pipe or socket",
    "sparse file": f"expected at most {FileKind.TRACK.most} bytes for a landmark track, found {1 << 42}",
    "link to itself": "cannot be read: Too many levels of symbolic links",
    "link to nothing": "no such file; name a landmark track",
    "long name": "cannot be read: File name too long",
    "long path": "cannot be read: File name too long",
    "below a file": "no such file; name a landmark track",
    "zero byte": "not a name that a file can have",
    "half a surrogate pair": "not a name that a file can have",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_file_of_a_fit_size_is_refused_in_one_line(tmp_path, kind):
    path = lay_hostile(kind, tmp_path)
    for read in (open_file, read_bytes, read_text, checked):
        with pytest.raises(BundleError) as error:
            read(path, FileKind.TRACK, BundleError)
        assert str(error.value).startswith(f"{path}: {HOSTILE[kind]}")
    assert is_file(path) == (kind == "sparse file")
    assert is_folder(path) == (kind == "folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_locked_folder_is_told(tmp_path):
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "file").write_text("x")
    (tmp_path / "locked").chmod(0)
    try:
        for look in (check_input, check_folder, size_of, check_photo_file, kind_of, list_folder, list_below):
            with pytest.raises(InputError, match="Permission denied"):
                look(tmp_path / "locked" / "file")
        assert not is_there(tmp_path / "locked" / "file")
    finally:
        (tmp_path / "locked").chmod(0o700)


@pytest.mark.parametrize("read", [
    lambda file: file.read(4), lambda file: file.read(), lambda file: file.readinto(bytearray(4)),
    lambda file: file.readline(), lambda file: hashlib.file_digest(file, "sha256"), lambda file: Image.open(file),
])  # fmt: skip
def test_whoever_reads_an_open_file_is_told_its_name_where_the_system_fails(tmp_path, monkeypatch, read):
    """As of a disk that fails behind the opening; /proc/self/mem is such a file, where nothing lies at 0."""
    (tmp_path / "file").write_text("x" * 100)
    told = f"{tmp_path / 'file'}: cannot be read: Input/output error; its disk may be failing: name a copy"
    if (memory := Path("/proc/self/mem")).exists():
        with open_file(memory, FileKind.ANY, BundleError) as file, pytest.raises(BundleError, match=told[-60:]):
            read(file)
    with open_file(tmp_path / "file", FileKind.ANY, BundleError) as file:
        os.close(file.fileno())
        os.dup2(os.open(tmp_path, os.O_RDONLY), file.fileno())  # which is a folder
        with pytest.raises(BundleError) as error:
            read(file)
    assert str(error.value).startswith(f"{tmp_path / 'file'}: cannot be read: Is a directory; name another")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_what_the_system_refuses_is_told(tmp_path, monkeypatch, code):
    """As of a folder that may not be entered, or a disk that fails; also where root runs the tests."""

    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    (tmp_path / "file").write_text("x")
    stats, scans = (check_input, check_folder, size_of, kind_of), (list_folder, list_below)
    for name, looks in (("stat", stats), ("scandir", scans)):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, refuse)
            for look in looks:
                with pytest.raises(InputError, match=r"(cannot be read|cannot be listed): "):
                    look(tmp_path / "file")
    monkeypatch.setattr(os, "stat", refuse)
    assert not is_there(tmp_path / "file")
    assert not is_file(tmp_path / "file")
    assert not is_folder(tmp_path)


def test_a_file_is_read_whole_and_no_further_than_its_bound(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\xef\xbb\xbftext\n")
    assert read_bytes(path, FileKind.SETTINGS) == b"\xef\xbb\xbftext\n"
    assert read_text(str(path), FileKind.SETTINGS) == "text\n"
    assert checked(str(path), FileKind.ANY) == path
    assert size_of(path) == 8
    assert read_bytes(path, FileKind.SETTINGS, most=8)
    with pytest.raises(InputError, match="expected at most 7 bytes for a file of settings, found 8"):
        read_bytes(path, FileKind.SETTINGS, most=7)
    path.write_bytes(b"text \xff")
    with pytest.raises(InputError, match="expected text in UTF-8, found other bytes at 5; name a file of settings"):
        read_text(path, FileKind.SETTINGS)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_file_that_grows_beyond_its_size_is_not_read_on():
    """Files of /proc have no size; this one has gigabytes."""
    with pytest.raises(InputError, match=r"cannot be read|expected at most"):
        read_bytes("/proc/self/mem", FileKind.SETTINGS)
    assert read_bytes("/proc/self/cmdline", FileKind.SETTINGS)


def test_a_pipe_that_takes_the_files_place_does_not_hang(tmp_path, monkeypatch):
    """Between the look and the opening."""
    path, look = tmp_path / "file", os.stat
    path.write_text("x")

    def swap(given, **how):
        monkeypatch.undo()
        status = look(given, **how)
        path.unlink()
        os.mkfifo(path)
        return status

    monkeypatch.setattr(os, "stat", swap)
    stopped = threading.Timer(10, lambda: os.close(os.open(path, os.O_WRONLY)))  # lets go of a reader that hangs
    stopped.start()
    with pytest.raises(InputError, match="is a device, pipe or socket"):
        open_file(path, FileKind.ANY)
    stopped.cancel()


def test_folders_are_listed_in_order(tmp_path):
    for name in ("b.json", "a.json", "c.txt", "sub/d.json", "sub/deeper/e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "circle").symlink_to(tmp_path)
    assert [path.name for path in list_folder(tmp_path, "*.json")] == ["a.json", "b.json"]
    assert list_folder(str(tmp_path)) == sorted(tmp_path.iterdir())
    assert [path.name for path in list_below(tmp_path)] == ["a.json", "b.json", "c.txt", "d.json", "e.txt"]
    for folder in (tmp_path / "no", tmp_path / "a.json"):
        with pytest.raises(BundleError, match=r"no: |a\.json: "):
            list_folder(folder, error=BundleError)
        with pytest.raises(BundleError, match="cannot be listed"):
            list_below(folder, BundleError)


def test_a_small_file_costs_no_room_for_a_large_one(tmp_path):
    (tmp_path / "a.dlc").write_bytes(b"small")
    tracemalloc.start()
    try:
        assert read_bytes(tmp_path / "a.dlc", FileKind.DLC) == b"small"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_file_whose_size_the_system_does_not_tell_is_not_cut(tmp_path):
    with pytest.raises(InputError, match=r"/proc/self/status: .*100"):
        read_bytes("/proc/self/status", FileKind.ANY, most=100)
