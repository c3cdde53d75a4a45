"""Files and folders are written whole or not at all, wherever their writer ends; what a killed one left is swept."""

import contextlib
import errno
import itertools
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bilayer.runtime.errors import OutputError
from bilayer.runtime.files.writing import (
    check_output,
    drafting,
    make_folder,
    new_folder,
    publish,
    replacing,
    write_file,
    write_files,
)
from tests.interposed import FINE, with_fault

NUMBERS = {"a": np.arange(1 << 18, dtype=np.float32)}  # 1 MB


def write_folder(target: Path) -> None:
    with drafting(target) as draft:
        (draft / "one").write_text("new")
        (draft / "two").write_text("new")
        publish(draft, target)


WRITERS = {
    "text": lambda target: write_file(target, "new"),
    "bytes": lambda target: write_file(target, b"new"),
    "a library's own writer": lambda target: write_file(target, lambda part: save_file(NUMBERS, part)),
}


def content(target: Path) -> str | None:
    return ("old" if target.read_bytes() == b"old" else "new") if target.exists() else None


@pytest.mark.parametrize("action", ["kill", "term", "full"])
@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_is_whole_wherever_its_writer_ends(tmp_path, writer, before, action):
    write, size = WRITERS[writer], None
    for number in itertools.count(1):
        target = tmp_path / str(number) / "deep" / "file"
        if before:
            target.parent.mkdir(parents=True)
            target.write_text(before)
        code, said, reached = with_fault(lambda target=target: write(target), target.parent, number, action)
        found = content(target)
        assert found in (before, "new")
        if not reached:
            assert (code, found) == (FINE, "new")
            assert size in (None, target.stat().st_size)
            break
        if found == "new":
            size = size or target.stat().st_size
            assert size == target.stat().st_size
        if action == "full":
            assert code == FINE or said.startswith(f"bilayer.runtime.errors.OutputError: {target.parent}")
            assert (code == FINE) == (found == "new")
            assert not target.parent.exists() or {path.name for path in target.parent.iterdir()} <= {"file"}
        elif action == "kill":
            assert code == -signal.SIGKILL
        write(target)
        assert [path.name for path in target.parent.iterdir()] == ["file"]  # swept
    assert number > 5


@pytest.mark.parametrize("action", ["kill", "full"])
def test_a_folder_is_whole_wherever_its_writer_ends(tmp_path, action):
    for number in itertools.count(1):
        target = tmp_path / str(number) / "frames"
        target.parent.mkdir()
        code, _, reached = with_fault(lambda target=target: write_folder(target), target.parent, number, action)
        if not reached:
            break
        assert not target.exists() or sorted(path.name for path in target.iterdir()) == ["one", "two"]
        if action == "full":
            assert code == FINE or not list(target.parent.iterdir())
        write_file(target.parent / "other", "next")
        assert {path.name for path in target.parent.iterdir()} <= {"frames", "other"}
    assert number > 8


def test_a_draft_that_is_worked_on_is_not_swept(tmp_path):
    with drafting(tmp_path / "slow") as draft:
        (draft / "slow").write_text("half")
        write_file(tmp_path / "quick", "done")
        assert with_fault(lambda: write_file(tmp_path / "other", "done"), tmp_path, 0, "kill")[0] == FINE
        assert (draft / "slow").read_text() == "half"
    assert {path.name for path in tmp_path.iterdir()} == {"quick", "other"}


def test_what_only_looks_like_a_draft_stays(tmp_path):
    for name in (".film.part", ".a.bilayer-x.part", "a.bilayer-0123abcd.part"):
        (tmp_path / name).mkdir()
    (tmp_path / ".a.bilayer-0123abcd.part").write_text("a file and no folder")
    (tmp_path / ".b.bilayer-0123abcd.part").symlink_to(tmp_path / ".film.part")
    write_file(tmp_path / "file", "new")
    assert len(list(tmp_path.iterdir())) == 6


def test_errors_of_libraries_are_one_line(tmp_path):
    def fail(_: Path) -> None:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos\nat f") from error

    (tmp_path / "file").write_text("old")
    with pytest.raises(OutputError, match=r"file: writing failed: No space left on device; make room there, or name"):
        write_file(tmp_path / "file", fail)
    with pytest.raises(OutputError, match=r"file: writing failed: No such file or directory; name another place$"):
        write_file(tmp_path / "file", lambda part: save_file(NUMBERS, part / "no" / "such"))
    with pytest.raises(KeyError), replacing(tmp_path / "file"):
        raise KeyError("not of the disk")
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x" * 300, "cannot write here: File name too long"),
        ("a\0b", "cannot write here: not a name that a file can have"),
        ("\ud800", "cannot write here: not a name that a file can have"),
        ("folder", "is a folder; name a file to write"),
        ("file/below", "is a file and not a folder"),
    ],
)
def test_places_that_cannot_be_written_are_told_before_the_work(tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for call in (check_output, lambda target: write_file(target, "x")):
        with pytest.raises(OutputError) as error:
            call(tmp_path / name)
        assert message in str(error.value)
    with pytest.raises(OutputError, match="file: is a file and not a folder"):
        make_folder(tmp_path / "file")


def _device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except OSError:
        pytest.skip("no right to make a device")


def _socket(path):
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as made:  # a socket's name has 108 bytes
        made.bind(path.name)


def _linked(make):
    def lay(path):
        make(path.with_name("behind"))
        path.symlink_to("behind")

    return lay


OF_THE_SYSTEM = {
    "device": _device,
    "pipe": os.mkfifo,
    "socket": _socket,
    "link to a device": _linked(_device),
    "link to a pipe": _linked(os.mkfifo),
    "as /dev/stdout": lambda path: path.symlink_to("/proc/self/fd/1"),
    "as /dev/fd/9": lambda path: path.symlink_to("/proc/self/fd/9"),
}


@pytest.mark.parametrize("kind", OF_THE_SYSTEM)
def test_nothing_takes_the_place_of_a_device_pipe_or_socket(tmp_path, kind):
    path = tmp_path / "out.json"
    OF_THE_SYSTEM[kind](path)
    before = {path.name: path.lstat() for path in tmp_path.iterdir()}
    writers = (
        check_output,
        lambda target: write_file(target, "x"),
        lambda target: write_files(target.parent, {"first": b"1", target.name: b"2"}),
    )
    for write in writers:
        with pytest.raises(OutputError, match=r"out\.json: is a device, pipe or socket; name a file to write"):
            write(path)
    after = {path.name: path.lstat() for path in tmp_path.iterdir()}
    assert {name: (one.st_mode, one.st_ino) for name, one in before.items()} == {
        name: (one.st_mode, one.st_ino) for name, one in after.items()
    }


def test_a_link_to_a_file_or_to_nothing_is_no_such(tmp_path):
    (tmp_path / "file").write_text("old")
    for name in ("file", "nothing"):
        link = tmp_path / f"link-{name}"
        link.symlink_to(name)
        write_file(link, "new")
        assert link.read_text() == "new"
    assert (tmp_path / "file").read_text() == "old"


def test_names_up_to_the_longest_are_written_with_usual_permissions(tmp_path):
    former = os.umask(0o027)
    try:
        for name in ("x" * 255, "é" * 127, "\udcff" * 200, "a:b"):
            write_file(tmp_path / name, "new")
            assert (tmp_path / name).read_text() == "new"
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o640
        write_file(tmp_path / "program", b"#!", executable=True)
        assert (tmp_path / "program").stat().st_mode & 0o777 == 0o750
        write_file(tmp_path / "text", "\udcff \u043c")
        assert (tmp_path / "text").read_text("utf-8") == "\\udcff \u043c"
    finally:
        os.umask(former)


@pytest.mark.parametrize("action", ["kill", "full"])
@pytest.mark.parametrize("before", [None, "old"])
def test_files_that_belong_together_are_written_all_or_none(tmp_path, before, action):
    names = ("a", "b", "c")
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in names[:2] if before else ():
            (folder / name).write_text("old")
        new = dict.fromkeys(names, b"new")
        code, _, reached = with_fault(lambda folder=folder, new=new: write_files(folder, new), folder, number, action)
        found = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
        if not reached:
            assert code == FINE
            break
        assert all(text in ("new", before) for text in found.values())
        if action != "kill":  # which may come between two renames
            assert set(found.values()) in ({"new"}, {before} - {None})
            assert not [path for path in folder.iterdir() if path.is_dir()]
        write_files(folder, new)
        assert {path.name: path.read_text() for path in folder.iterdir()} == dict.fromkeys(names, "new")
    assert number > 10


@pytest.mark.parametrize("links", [True, False])
def test_files_that_were_there_come_back_where_a_rename_fails(tmp_path, monkeypatch, links):
    def no_links(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    for name in ("a", "c"):
        (tmp_path / name).write_text(f"former {name}")
    replace = Path.replace

    def failing(self, target):
        if self.name == target.name == "c" and self.parent.name != "former":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OutputError, match="writing failed: Input/output error"):
        write_files(tmp_path, {"a": b"1", "b": b"2", "c": b"3"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "former a", "c": "former c"}


def test_a_signal_in_a_librarys_callback_is_no_failed_write(tmp_path):
    """As of torch, which calls a Python stream, and raises its own error of what that raises."""

    def write(_: Path) -> None:
        try:
            raise SystemExit(143)
        except SystemExit:
            raise RuntimeError("[enforce fail at inline_container.cc:672]") from None

    with pytest.raises(SystemExit, match="143"):
        write_file(tmp_path / "file", write)
    assert not list(tmp_path.iterdir())


WAITS = """
import signal
from bilayer.runtime.process.undisturbed import undisturbed
heard = []
signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
with undisturbed():
    signal.raise_signal(signal.SIGTERM)
    assert not heard
assert heard == [signal.SIGTERM]
assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
"""


def test_a_signal_waits_where_it_must():
    """In a process of its own: a worker of the tests that hears it is gone."""
    subprocess.run([sys.executable, "-c", WAITS], check=True)


def test_a_new_folder_is_whole_or_not_there(tmp_path):
    def fail() -> None:
        with new_folder(tmp_path / "a" / "b") as draft:
            (draft / "file").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not list(tmp_path.iterdir())
    with new_folder(tmp_path / "a") as draft:
        (draft / "deep").mkdir()
        (draft / "deep" / "file").touch()
    assert [path.name for path in (tmp_path / "a").rglob("*")] == ["deep", "file"]
    with pytest.raises(OutputError, match="not an empty folder"), new_folder(tmp_path / "a"):
        pass


def test_a_mount_that_tells_no_size_and_gives_no_file_back_can_be_written_to(tmp_path, monkeypatch):
    def kept(*_, **__):
        raise PermissionError(errno.EPERM, "append only")

    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result([4096, 4096] + [0] * 8))
    check_output(tmp_path / "a.dlc")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(Path, "unlink", kept)
    check_output(tmp_path / "a.dlc")
    assert len(list(tmp_path.iterdir())) == 1
