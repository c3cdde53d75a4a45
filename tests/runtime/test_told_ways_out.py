"""A message of bad input names the file and the way out, by whatever command it is met."""

import errno
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bilayer.runtime.command.console import Command, Group
from bilayer.runtime.command.options import NamedFile, PathAlone, PathOrUrl
from bilayer.runtime.errors import BilayerError, CheckpointError, DlcError, InputError, LandmarkError, PhotoError
from bilayer.runtime.files import stores
from bilayer.runtime.files.reading import FileKind, check_folder, check_input, read_bytes
from bilayer.runtime.media import photo
from bilayer.runtime.motion.drivers import LandmarkDriver, LiveDriver, Repeated, TrackedDriver
from bilayer.runtime.motion.follow import Follower
from bilayer.runtime.process.environment import check_thread_numbers
from bilayer.runtime.rendering.render import render_video
from bilayer.runtime.typed_json import read_content

NOWHERE = np.zeros((3, 68, 2), np.float32)


def reader(name):
    """A reader of files that people give, by its module and name."""
    module, _, function = name.rpartition(".")
    return getattr(__import__(f"bilayer.{module}", fromlist=["_"]), function)


READERS = {  # and what a damaged file is called for them
    "export.dlc.read.read_dlc": "a.dlc",
    "export.tflite.read.read_tflite": "a.tflite",
    "export.formats.onnx_file.read_model": "a.onnx",
    "export.formats.network_file.known_network_kind": "a.jpg",
    "export.bulk.items.find_items": "a.jsonl",
    "model.files.safe_load.read_pth": "a.pth",
    "model.files.safe_load.read_safetensors": "a.safetensors",
    "model.files.given.check_checkpoint_file": "a.txt",
    "runtime.bundle.read_bundle": "a.json",
    "runtime.face.landmark_files.read_landmarks": "a.json",
    "runtime.media.photo.read_photo": "a.png",
    "runtime.media.video.VideoFrames": "a.mp4",
    "runtime.motion.track_files.read_track": "a.json",
    "runtime.typed_json.read_content": "a.toml",
    "training.settings.read_settings": "a.toml",
}
BEGUN = {
    "a.jpg": b"\xff\xd8\xff",
    "a.txt": b"text",
    "a.png": b"\x89PNG\r\n\x1a\n",
    "a.onnx": b"\x08\x08\x12\x07bilayer",
}


@pytest.mark.parametrize("content", [b"", b"{ = =", b'{"a": 1, ', None])
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_named_with_a_way_out(tmp_path, name, content):
    path = tmp_path / READERS[name]
    path.write_bytes(BEGUN.get(path.name, b"\0") if content is None else content)
    given = str(path) if "find_items" in name else path
    if not content and path.suffix == ".toml":
        return  # no settings, which is none of the reader's matter
    with pytest.raises(BilayerError) as told:
        reader(name)(given)
    assert str(told.value).startswith(str(path))
    assert "; " in str(told.value), told.value


@pytest.mark.parametrize("name", [name for name in READERS if "check_checkpoint" not in name])
def test_nothing_there_is_named_with_a_way_out(tmp_path, name):
    path = tmp_path / READERS[name]
    with pytest.raises(BilayerError, match=r"; name |; docs/bulk\.md"):
        reader(name)(str(path) if "find_items" in name else path)


@pytest.mark.parametrize("look", [check_input, check_folder])
def test_what_is_not_there_is_told_with_a_way_out(tmp_path, look):
    with pytest.raises(InputError, match=r"none: .*; name one"):
        look(tmp_path / "none")


def test_a_file_for_a_folder_is_told_with_a_way_out(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: expected a folder, found a file; name a folder"):
        check_folder(tmp_path / "file")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("foo://x", "Protocol not known: foo; name a path, or a URL of a store that fsspec knows"),
        ("memory://none.jpg", "no such file; name one that is there"),
    ],
)
def test_a_url_is_told_with_a_way_out(url, told):
    pytest.importorskip("fsspec")
    with pytest.raises(InputError) as error:
        stores.read_head(url)
    assert str(error.value).startswith(f"{url}: ")
    assert told in str(error.value)


def test_an_empty_dlc_is_called_empty(tmp_path):
    (tmp_path / "a.dlc").touch()
    with pytest.raises(DlcError, match=r"a\.dlc: .*found an empty file; give one as its converter wrote it"):
        reader("export.dlc.read.read_dlc")(tmp_path / "a.dlc")


def test_a_photo_to_be_checked_as_a_network_is_told_with_a_way_out(tmp_path):
    heads = {"a.jpg": b"\xff\xd8\xff", "a.pdf": b"%PDF", "a.dlc": b"PK\3\4" + bytes(30)}
    for name, head in heads.items():
        (tmp_path / name).write_bytes(head)
        way_out = "bilayer-export --inspect" if name == "a.dlc" else "name one, such as the avatar.onnx"
        with pytest.raises(InputError, match=rf"{name}: expected an \.onnx or a \.tflite, found .*; {way_out}"):
            reader("export.formats.network_file.check_network_file")(tmp_path / name)


def test_an_avatar_as_a_checkpoint_is_called_one(tmp_path):
    for name in ("me.json", "me.onnx"):
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=r"found an avatar \(me\.json\), .*; give a \.safetensors"):
        reader("model.files.given.check_checkpoint_file")(tmp_path)
    (tmp_path / "me.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"no <experiment>/args\.txt in it; give a \.safetensors"):
        reader("model.files.given.check_checkpoint_file")(tmp_path)


class _Nobody:
    """Pictures, and a landmarker that finds no face."""

    rate, count = 25.0, 2

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        yield from np.zeros((2, 4, 4, 3), np.uint8)

    def track(self, frame, previous):
        return None


def test_a_driver_without_a_face_is_called_by_its_file():
    tracked = TrackedDriver(_Nobody, False, "a.mp4")
    for look in (
        lambda: tracked.track(_Nobody()),
        lambda: LandmarkDriver(NOWHERE, 25.0, "a.npy").reference(NOWHERE[0]),
    ):
        with pytest.raises(
            LandmarkError, match=r"^a\.(mp4|npy): expected a face, found none in any of its frames; give"
        ):
            look()
    live = LiveDriver(_Nobody(), _Nobody(), "webcam 0")
    names = [tracked.name, Repeated(tracked).name, live.name]
    assert names == ["a.mp4", "a.mp4", "webcam 0"]
    avatar = SimpleNamespace(source_pose=np.zeros(136), size=4, infer=lambda _: None, compose=lambda frame: frame)
    followed = Follower(live, lambda landmarks: landmarks, avatar.source_pose, 0.0, 4)
    with pytest.raises(LandmarkError, match=r"^webcam 0: expected a face, found none in any of its frames; give"):
        render_video(avatar, followed, followed.pose, SimpleNamespace(write=lambda _: None))


@pytest.mark.parametrize("kind", [PathAlone(), PathOrUrl()])
def test_a_file_that_may_not_be_read_is_bad_input_in_every_option(tmp_path, monkeypatch, kind):
    """Click would call it a usage error, which is for what is none of the command's words."""
    (tmp_path / "a").write_text("x")

    @click.command(cls=Command)
    @click.option("--given", type=kind)
    @click.argument("place", type=kind)
    def main(given, place):
        read_bytes(given, FileKind.ANY)

    def refuse(path, *_, **__):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # root may read everything
    monkeypatch.setattr(os, "open", refuse)
    done = CliRunner().invoke(main, ["--given", str(tmp_path / "a"), str(tmp_path / "a")])
    told = f"error: {tmp_path / 'a'}: cannot be read: Permission denied; allow yourself to read it, as by chmod u+r"
    assert (done.exit_code, done.stderr[: len(told)]) == (3, told)


def test_no_option_leaves_it_to_click_whether_a_file_can_be_read():
    """`exists=True` of click, or its look at permissions, ends with 2 where every other command ends with 3."""
    top = Path(__file__).parents[2]
    rooms = ("android_harness", "benchmarks", "bilayer", "export", "model", "runtime", "training")
    found = [path for room in rooms for path in (top / room).rglob("*.py") if "click.Path(" in path.read_text("utf-8")]
    assert found == []


@pytest.mark.parametrize("module", ["face.model_files --wheel", "web.engines ort --package"])
def test_an_archive_that_is_not_there_is_bad_input(tmp_path, module):
    name, *words = module.split()
    command = [sys.executable, "-m", f"bilayer.runtime.{name}", *words, "none.zip"]
    environment = os.environ | {"BILAYER_CACHE": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (3, "error: none.zip: no such file; name a package's archive\n")


@pytest.mark.parametrize("word", ["-dash.jpg", "--two.png", "-x"])
@pytest.mark.parametrize("typed", [[], ["some"], ["some", "other.jpg"]])
def test_a_file_that_is_taken_for_an_option_is_told(tmp_path, monkeypatch, word, typed):
    monkeypatch.chdir(tmp_path)

    @click.group(cls=Group)
    def main():
        pass

    @main.command()
    @click.argument("places", type=PathAlone(), nargs=-1)
    def some(places):
        assert [str(place) for place in places] == [word]

    hint = f"{word} lies here: name it ./{word}."
    assert hint not in CliRunner().invoke(main, [*typed, word]).stderr
    (tmp_path / word).touch()
    done = CliRunner().invoke(main, [*typed, word])
    assert (done.exit_code, done.stderr.count(hint)) == (2, 1)
    assert CliRunner().invoke(main, ["some", "--", word]).exit_code == 0
    done = CliRunner().invoke(main, [*typed[:1], "--none", "--", word])  # of what stands behind -- nothing is an option
    assert (done.exit_code, "No such option '--none'" in done.stderr, hint in done.stderr) == (2, True, False)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_that_names_no_file_is_told_of_what_was_written(code):
    @click.command(cls=Command)
    @click.option("--out", type=PathAlone(), default="a.mp4")
    @click.option("--report", type=NamedFile(PathAlone(), (".png",)))
    @click.option("--size", type=int)
    def main(out, report, size):
        raise OSError(code, os.strerror(code))

    written = {(): "a.mp4 or ", ("--report", "b.png", "--size", "1"): "a.mp4 or b.png or "}
    for words, names in written.items():
        done = CliRunner().invoke(main, words)
        told = rf"error: {names}temporary files in \S+: {os.strerror(code)}; make room there, or name another place\n"
        assert done.exit_code == 3
        assert re.fullmatch(told, done.stderr)


@pytest.mark.parametrize("named", [True, False])
def test_what_fails_before_a_command_begins_is_told_by_its_file(named):
    def fail(_context, _parameter, value):
        raise OSError(errno.EIO, os.strerror(errno.EIO), *(["a.jpg"] if named else []))

    @click.command(cls=Command)
    @click.argument("place", callback=fail)
    def main(place):
        pass

    done = CliRunner().invoke(main, ["a"])
    assert done.exit_code == 3
    told = "a.jpg: Input/output error; its disk" if named else "stdout cannot be written to: Input/output error; print"
    assert done.stderr.startswith(f"error: {told}")


@pytest.mark.parametrize("value", ["0", "abc", "-4", "1.5", "9999999999", "4097", "²", "1;2"])
@pytest.mark.parametrize("name", ["NUMBA_NUM_THREADS", "OMP_NUM_THREADS"])
def test_a_number_of_threads_that_is_none_is_one_line(name, value):
    program = "from bilayer.runtime.sampler.cli import main; main()"
    command = [sys.executable, "-c", program, "check"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {name: value})
    told = f"error: ${name}: expected a number of threads, 1 to 4096, found {value!r}; correct or unset it\n"
    assert (done.returncode, done.stderr.encode("utf-8")) == (3, told.encode("utf-8"))


@pytest.mark.parametrize("value", ["", " ", "1", "2", " 4 ", "4096"])
@pytest.mark.parametrize("name", ["NUMBA_NUM_THREADS", "OMP_NUM_THREADS"])
def test_numbers_of_threads_pass(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    check_thread_numbers()
    monkeypatch.setenv("OMP_NUM_THREADS", "4, 2,1")  # for each level of threads in threads
    check_thread_numbers()
    monkeypatch.setenv("NUMBA_NUM_THREADS", "4, 2,1")
    with pytest.raises(InputError, match="NUMBA_NUM_THREADS"):
        check_thread_numbers()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.tif", "a.webp"])
@pytest.mark.parametrize("start", [0, 1000])
def test_a_disk_that_fails_in_a_photo_is_no_damage_of_it(tmp_path, monkeypatch, name, start):
    """Whatever decoder reads on: the door tells of the disk, once."""
    told = f"{tmp_path / name}: cannot be read: Input/output error; its disk may be failing: name a copy"

    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() + (len(self.getvalue()) if size is None or size < 0 else size) > start:
                raise PhotoError(told)
            return super().read(size)

    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8))
    more = {"save_all": True, "append_images": [noise.rotate(90)]} if name == "a.gif" else {}
    noise.save(tmp_path / name, **more)
    content = (tmp_path / name).read_bytes()
    monkeypatch.setattr(photo, "open_file", lambda *_: Failing(content))
    read = photo.read_animation if name == "a.gif" else photo.read_photo
    with pytest.raises(PhotoError) as error:
        list(read(tmp_path / name))
    assert str(error.value) == told


def test_settings_without_advice_have_a_way_out(tmp_path):
    for name in ("a.toml", "a.json"):
        (tmp_path / name).write_text("[")
        with pytest.raises(InputError, match=r"not readable as \w+ \(.*\); correct it there, or name another"):
            read_content(tmp_path / name)
