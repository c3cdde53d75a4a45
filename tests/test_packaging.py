"""What is given away: an sdist with all of the repository, a wheel with all of the rooms, and what is left of both."""

import ast
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
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def test_the_page_of_the_package_tells_of_every_extra():
    """Those above `all` in its table are in it, and those below are not."""
    extras = PROJECT["project"]["optional-dependencies"]
    text = (ROOT / "docs" / "package.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `bilayer")]
    told = [re.findall(r"\[([\w-]+)\]", row.split(" | ")[0]) for row in rows]
    names = [name for row in told for name in row]
    assert sorted(names) == sorted(extras)
    (line,) = extras["all"]
    assert set(names[: names.index("all")]) == set(re.fullmatch(r"bilayer\[(.*)\]", line)[1].split(","))


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


def required(lines, extras=()):
    """The distributions of this environment that requirements ask for, and theirs, by name: what pip would install."""
    found: dict[tuple[str, str], Distribution] = {}
    waiting = [(Requirement(line), extra) for line in lines for extra in ("", *extras)]
    while waiting:
        wanted, extra = waiting.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
            continue
        for asked in {"", *wanted.extras} - {asked for name, asked in found if name == wanted.name}:
            there = found[wanted.name, asked] = distribution(wanted.name)
            waiting += [(Requirement(line), asked) for line in there.requires or []]
    return {canonicalize_name(name): there for (name, _), there in found.items()}


def files_of(there):
    """(path, its place in site-packages) of a distribution's files; not of its programs beside that folder."""
    return [(path.locate(), path) for path in there.files if ".." not in path.parts and path.locate().is_file()]


def environment(folder, wheel, distributions):
    """Make a new environment of the wheel, which sees these distributions alone; return its folder of programs."""
    venv.create(folder, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "--no-deps", "--no-index"]
    done = subprocess.run([*pip, "--quiet", wheel], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (site,) = (folder / "lib").glob("python*/site-packages")
    for there in distributions.values():
        for path, place in files_of(there):
            (site / place).parent.mkdir(parents=True, exist_ok=True)
            (site / place).symlink_to(path)
    return folder / "bin"


def imported(path):
    """The first words of the packages that a module imports, and whether by its first lines or when they are needed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        for name in names:
            yield name.partition(".")[0], node in tree.body


def test_what_the_player_imports_is_declared():
    """By the core, if a module of runtime/ or bilayer/ begins with it; else by the core or an extra."""
    declared = required_names(PROJECT["project"]["dependencies"])
    core = declared | {"llvmlite"}  # numba's, of the one version that it takes
    extras = {name for lines in PROJECT["project"]["optional-dependencies"].values() for name in required_names(lines)}
    distributions = packages_distributions()
    used = set()
    for path in (path for room in ("runtime", "bilayer") for path in (ROOT / room).rglob("*.py")):
        for package, at_once in imported(path):
            (name,) = {canonicalize_name(name) for name in distributions.get(package, [package])}
            if package in sys.stdlib_module_names or package == "bilayer" or package not in distributions:
                continue
            used.add(name)
            brought = (
                core if at_once else core | extras | {"fsspec"}
            )  # of stores' URLs: its message says what to install
            assert name in brought, f"{path.relative_to(ROOT)}: {package}"
    assert declared <= used


def required_names(lines):
    return {canonicalize_name(Requirement(line).name) for line in lines}


@pytest.fixture(scope="module")
def core(built):
    """What `pip install bilayer` brings, by what the wheel declares."""
    return required(built.metadata.get_all("Requires-Dist"))


@pytest.fixture(scope="module")
def installed(built, core, tmp_path_factory):
    """The folder of programs of a new environment: the wheel, and what its core requires."""
    return environment(tmp_path_factory.mktemp("core"), built.wheel_path, core)


@pytest.fixture(scope="module")
def exporting(built, tmp_path_factory):
    """Another, of the wheel with its extra `export`."""
    distributions = required([*built.metadata.get_all("Requires-Dist")], ["export"])
    return environment(tmp_path_factory.mktemp("export"), built.wheel_path, distributions)


def run(*command, cwd):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd=cwd, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_core_is_small(built, core):
    """Under 700 MB on the disk, where torch alone has 2 GB and more with CUDA."""
    sizes = {name: sum(path.stat().st_size for path, _ in files_of(there)) for name, there in core.items()}
    with zipfile.ZipFile(built.wheel_path) as archive:
        sizes["bilayer"] = sum(file.file_size for file in archive.infolist())
    assert {"numpy", "numba", "onnxruntime", "llvmlite"} < set(sizes)
    assert not {"torch", "onnx"} & set(sizes)
    assert 300e6 < sum(sizes.values()) < 700e6, sizes


@pytest.mark.slow
def test_the_environment_has_nothing_else(installed, tmp_path):
    for name in ("torch", "onnx", "matplotlib", "pytest", "setuptools"):
        program = f"import importlib.util; print(importlib.util.find_spec({name!r}))"
        assert run(installed / "python", "-c", program, cwd=tmp_path) == "None\n"


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_an_installed_program_tells_its_use(installed, script, tmp_path):
    assert "Usage:" in run(installed / script, "--help", cwd=tmp_path)


PLAY = """
import sys
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


FIND = """
import sys
from bilayer.runtime import find_face, read_photo
print(find_face(read_photo(sys.argv[1])).landmarks.shape)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("face_networks")
def test_the_core_finds_a_face_and_writes_a_film(installed, astronaut_path, tmp_path):
    """What a webcam's face and `bilayer-render` take: LiteRT, OpenCV, Pillow, platformdirs, rich."""
    assert run(installed / "python", "-c", FIND, astronaut_path, cwd=tmp_path) == "(68, 2)\n"
    bundle: Bundle = export_tiny(tmp_path)
    run(installed / "bilayer-render", bundle.folder, "--demo-motion", "--out", "film.gif", cwd=tmp_path)
    assert (tmp_path / "film.gif").read_bytes().startswith(b"GIF89a")


@pytest.mark.slow
def test_the_demo_weights_come_with_the_wheel(exporting, tmp_path):
    program = "import bilayer, bilayer.model.config as it; print(bilayer.load_model(it.DEMO_CHECKPOINT).config)"
    assert "image_size=256" in run(exporting / "python", "-c", program, cwd=tmp_path)
