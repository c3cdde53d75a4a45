"""What a user's processes load: the runtime never loads torch or onnx, and nothing heavy before it is needed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bilayer.entry import COMMANDS
from bilayer.runtime.command.console import look_at
from bilayer.runtime.engines.choice import installed

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT / "runtime").with_suffix("").parts)
    for path in (ROOT / "runtime").rglob("*.py")
    if not path.stem.startswith("__")
)
FLOOR = ("torch", "onnx")
HEAVY = (*FLOOR, "onnxruntime", "openvino", "ncnn", "pnnx", "pygame", "numba", "av", "cv2", "ai_edge_litert")
# In a Python where importing either fails
WITHOUT = 'import sys; sys.modules["torch"] = sys.modules["onnx"] = None\n'
LOADED = f"\nprint([name for name in {FLOOR} if sys.modules.get(name)])"


def run(command, **environment):
    environment = os.environ | {name: str(value) for name, value in environment.items()}
    done = subprocess.run(
        [sys.executable, "-W", "error", *map(str, command)],
        capture_output=True, text=True, check=False, cwd=ROOT, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def last_line(program, *arguments, **environment):
    return run(["-c", program, *arguments], **environment).stdout.strip().splitlines()[-1]


def imported(*command):
    """Packages that a command imports, as Python itself reports it."""
    lines = run(["-X", "importtime", *command]).stderr.splitlines()
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines if line.startswith("import time:")}


def test_the_package_alone_loads_nothing():
    found = imported("-c", "import bilayer.runtime")
    assert "bilayer" in found
    assert not found & set(HEAVY)
    assert not found & {"numpy", "click"}


def test_no_module_loads_torch_or_onnx():
    assert {
        "player",
        "sampler.grid_sample",
        "motion.retarget",
        "face.mediapipe",
        "engines.ncnn",
        "media.window",
    } <= set(MODULES)
    program = f"""
import importlib, sys
for name in {MODULES}:
    importlib.import_module(f"bilayer.runtime.{{name}}")
    found = [package for package in {FLOOR} if package in sys.modules]
    assert not found, (name, found)
print("none")
"""
    assert last_line(program) == "none"


def test_the_public_names_need_neither():
    program = "import bilayer.runtime\nfor name in bilayer.runtime.__all__: getattr(bilayer.runtime, name)"
    assert last_line(WITHOUT + program + LOADED) == "[]"


LIGHT = [
    "engines.load", "engines.ncnn_convert", "engines.ncnn", "engines.openvino", "engines.pose_encoding", "player",
    "rendering.cli", "rendering.stages", "media.video", "media.window", "command.options", "vocabulary",
]  # fmt: skip


@pytest.mark.parametrize("module", [*LIGHT, "media.writers"])
def test_a_module_loads_heavy_packages_only_when_used(module):
    assert not imported("-c", f"import bilayer.runtime.{module}") & set(HEAVY)


SCRIPTS = [f"bilayer-{name}" for name, (module, _) in COMMANDS.items() if module.startswith("bilayer.runtime.")]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_help_of_a_program_loads_nothing_heavy(script):
    assert {"bilayer-render", "bilayer-sampler"} <= set(SCRIPTS)
    path = Path(sys.executable).parent / script
    if not path.is_file():
        pytest.skip(f"{script} is not beside this Python")
    found = imported(path, "--help")
    assert "click" in found
    assert not found & {*HEAVY, "numpy"}


@pytest.mark.parametrize("module", ["rendering.cli", "sampler.cli", "face.model_files", "web.engines"])
def test_the_help_of_a_module_loads_nothing_heavy(module):
    found = imported("-m", f"bilayer.runtime.{module}", "--help")
    assert "click" in found
    assert not found & {*HEAVY, "numpy"}


RENDER = f"""{WITHOUT}
from bilayer.runtime.rendering.cli import main
main(sys.argv[1:], standalone_mode=False)
{LOADED}"""


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "ncnn"])
def test_rendering_needs_neither_torch_nor_onnx(bundle_folder, tmp_path, engine):
    """From the bundle to the .mp4, everything beside the frame included; and nothing is printed but the result."""
    pytest.importorskip("av")
    if not installed(engine):
        pytest.skip(f"{engine} is not installed")
    out = tmp_path / "a.mp4"
    command = [bundle_folder, "--demo-motion", "--frames", 2, "--parts", "--side-by-side", "--engine", engine]
    done = run(["-c", RENDER, *command, "--out", out], BILAYER_CACHE=tmp_path / "cache")
    assert (done.stdout.splitlines()[-1], done.stderr) == ("[]", f"\nnext: {look_at(out)}\n")
    assert out.stat().st_size > 500


def test_driving_by_a_picture_needs_neither(bundle_folder, astronaut_path, face_networks, tmp_path):
    command = [bundle_folder, "--drive", astronaut_path, "--out", tmp_path / "frames", "--side-by-side"]
    assert last_line(RENDER, *command) == "[]"
    assert (tmp_path / "frames/00000.png").is_file()


def test_a_window_needs_neither(bundle_folder, tmp_path):
    pytest.importorskip("pygame")
    command = [bundle_folder, "--demo-motion", "--out", "window", "--frames", 3]
    assert last_line(RENDER, *command, SDL_VIDEODRIVER="dummy") == "[]"


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "ncnn"])
def test_a_frame_by_the_api_needs_neither(bundle_folder, tmp_path, engine):
    if not installed(engine):
        pytest.skip(f"{engine} is not installed")
    program = f"""{WITHOUT}
from bilayer.runtime import AvatarPlayer
avatar = AvatarPlayer.load(sys.argv[1], engine=sys.argv[2])
assert avatar.render(avatar.source_pose).shape == (64, 64, 4)
{LOADED}"""
    assert last_line(program, bundle_folder, engine, BILAYER_CACHE=tmp_path / "cache") == "[]"
