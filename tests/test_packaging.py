"""What is given away: an sdist with all of the repository, a wheel with all of the rooms, and what is left of both."""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from bilayer.runtime.bundle import Bundle
from tests.benchmarks.avatars import export_tiny

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS = PROJECT["tool"]["setuptools"]["package-dir"]
SCRIPTS = sorted(PROJECT["project"]["scripts"])


def test_every_folder_of_modules_is_a_package_of_the_wheel():
    found = {
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
        for package, folder in ROOMS.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])


def test_all_takes_in_every_extra_but_those_that_say_why_not():
    extras = PROJECT["project"]["optional-dependencies"]
    (line,) = extras["all"]
    assert set(re.fullmatch(r"bilayer\[(.*)\]", line)[1].split(",")) == set(extras) - {
        "all",
        "dev",
        "face-alignment",
        "aihub",
        "executorch",
        "camera",
        "ray",
    }


@dataclass(frozen=True)
class Built:
    source: set[str]  # files of the repository
    sdist: set[str]
    wheel: set[str]
    wheel_path: Path
    metadata: email.message.Message


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist of a copy of the repository, and the wheel made from that sdist."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout, which knows what belongs to the repository")
    folder = tmp_path_factory.mktemp("built")
    source = {name for name in done.stdout.splitlines() if (ROOT / name).is_file()}
    for name in source:
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "source" / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "source"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = (list((folder / "dist").glob(pattern)) for pattern in ("*.tar.gz", "*.whl"))
    with tarfile.open(sdist) as archive:
        sources = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Built(
            source, sources, set(archive.namelist()), wheel, email.message_from_bytes(archive.read(metadata))
        )  # fmt: skip


@pytest.mark.slow
def test_the_sdist_holds_the_repository(built):
    assert built.source - built.sdist == set()
    for name in ("CHANGELOG.md", "constraints.txt", "docs/bundle.md", "android_harness/app/build.gradle.kts"):
        assert name in built.sdist
    assert all(re.match(r"PKG-INFO|setup\.cfg|bilayer\.egg-info/", name) for name in built.sdist - built.source)


@pytest.mark.slow
def test_the_wheel_holds_the_rooms_and_nothing_else(built):
    app = "android_harness/app/"
    expected = {
        f"{package.replace('.', '/')}/{name.removeprefix(folder + '/')}"
        for package, folder in ROOMS.items()
        for name in built.source
        if name.startswith(f"{folder}/") and not name.startswith(app)
    }
    assert {name for name in built.wheel if ".dist-info/" not in name} == expected
    assert {"bilayer/py.typed", "bilayer/model/demo_weights/demo.safetensors"} <= expected
    assert not any(name.endswith(".jsonl") for name in expected)


@pytest.mark.slow
def test_the_description_shows_wherever_it_is_read(built):
    description = built.metadata.get_payload()
    assert "import bilayer" in description
    assert re.findall(r"\]\((?!https?://)", description) == []  # neither pictures nor links into the repository


@pytest.mark.slow
def test_the_core_needs_neither_torch_nor_onnx(built):
    required = [line for line in built.metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert required
    assert not [line for line in required if re.match(r"(torch|onnx|matplotlib|jinja2)\b(?!-)", line)]


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The folder of programs of a new environment: the wheel, and beside it the packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        folder / "bin/python",
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
    ]
    done = subprocess.run([*pip, built.wheel_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (site,) = (folder / "lib").glob("python*/site-packages")
    lent = [path for path in sys.path if path.endswith("site-packages")]
    (site / "lent.pth").write_text("".join(f"{path}\n" for path in lent))
    return folder / "bin"


def run(*command, cwd):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd=cwd, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_an_installed_program_tells_its_use(installed, script, tmp_path):
    assert "Usage:" in run(installed / script, "--help", cwd=tmp_path)


PLAY = """
import sys
sys.modules["torch"] = sys.modules["onnx"] = None
import bilayer
avatar = bilayer.load_avatar(sys.argv[1])
frames = list(avatar.frames(bilayer.demo_motion(avatar, seconds=0.2)))
print(bilayer.__version__, bilayer.__file__, len(frames), frames[0].shape)
"""


@pytest.mark.slow
def test_an_avatar_plays_from_the_installed_wheel(installed, tmp_path):
    bundle: Bundle = export_tiny(tmp_path)
    told = run(installed / "python", "-c", PLAY, bundle.folder, cwd=tmp_path)
    (file,) = installed.parent.glob("lib/python*/site-packages/bilayer/__init__.py")
    assert told.split(maxsplit=3) == [PROJECT["project"]["version"], str(file), "5", "(64, 64, 4)\n"]


@pytest.mark.slow
def test_the_demo_weights_come_with_the_wheel(installed, tmp_path):
    program = "import bilayer, bilayer.model.config as it; print(bilayer.load_model(it.DEMO_CHECKPOINT).config)"
    assert "image_size=256" in run(installed / "python", "-c", program, cwd=tmp_path)
