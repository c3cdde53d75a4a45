"""`import bilayer`: what a user of the library types."""

import importlib
import inspect
import os
import subprocess
import sys
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from PIL import Image

import bilayer
from bilayer.export.options import ExportOptions
from bilayer.runtime import (
    BundleError,
    InputError,
    LandmarkError,
    ParityError,
    ToolMissingError,
    Track,
    driving_poses,
    read_bundle,
)
from bilayer.runtime.command.extras import extra_of, naming_extras
from bilayer.runtime.engines.base import reading
from tests import golden
from tests.benchmarks.avatars import RUNS, copied, rewritten

HEAVY = ("numpy", "torch", "onnx", "onnxruntime", "numba", "cv2", "click", "importlib.metadata")


@pytest.fixture(scope="module")
def bundle(case_a_folder, tmp_path_factory):
    return copied(read_bundle(case_a_folder / "avatar"), tmp_path_factory.mktemp("face") / "avatar")


def last_line(program, *arguments, cwd):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=cwd, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_the_names_are_those_that_the_stub_lists():
    names = ["__version__", "check", "demo_motion", "export_avatar", "load_avatar", "load_model"]
    assert bilayer.__all__ == names
    assert dir(bilayer) == names
    assert bilayer.__version__ == version("bilayer")
    for name in names[1:]:
        assert inspect.getdoc(getattr(bilayer, name))
    with pytest.raises(AttributeError, match="bilayer attribute export"):
        bilayer.export_avatars  # noqa: B018


def test_the_import_loads_nothing(tmp_path):
    program = f"import sys, bilayer; print([name for name in {HEAVY} if name in sys.modules])"
    assert last_line(program, cwd=tmp_path) == "[]"


def test_a_photo_becomes_a_bundle_by_strings_alone(tmp_path):
    case = golden.load("case_a/preproc.npz")
    Image.fromarray(case["source_image"]).save(tmp_path / "me.png")
    np.save(tmp_path / "me.npy", case["source_landmarks"])
    exported = bilayer.export_avatar(
        str(tmp_path / "me.png"), str(tmp_path / "out"), target="none", checkpoint=str(RUNS),
        landmarks=str(tmp_path / "me.npy"), mask=False,
    )  # fmt: skip
    assert exported.bundle.contract == read_bundle(str(tmp_path / "out")).contract
    assert exported.bundle.contract.verification.verified


def test_an_export_takes_the_fields_of_its_options_and_no_others():
    assert list(inspect.signature(bilayer.export_avatar).parameters) == [field.name for field in fields(ExportOptions)]
    with pytest.raises(TypeError, match="sharpen"):
        bilayer.export_avatar("me.jpg", sharpen=True)


def test_landmarks_may_be_called_what_they_were(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "me.png")
    with pytest.raises(LandmarkError, match=r"no\.npy: no such file"):
        bilayer.export_avatar(tmp_path / "me.png", tmp_path / "out", keypoints=tmp_path / "no.npy")


@pytest.mark.parametrize("kind", [str, Path])
def test_an_avatar_moves(bundle, kind):
    avatar = bilayer.load_avatar(kind(bundle.folder))
    track = bilayer.demo_motion(avatar, seconds=0.5)
    poses = track.landmarks.reshape(-1, 136)
    np.testing.assert_array_equal(poses[0], avatar.source_pose)
    frames = [frame.copy() for frame in avatar.frames(track)]
    assert len(frames) == 12
    assert frames[0].shape == (64, 64, 4)
    np.testing.assert_array_equal(frames, avatar.render_batch(poses))
    assert (frames[0] != frames[3]).any()


def test_the_track_of_another_face_moves_the_avatars_own(bundle):
    avatar = bilayer.load_avatar(bundle.folder)
    pixels = 300 + 120 * bilayer.demo_motion(avatar, seconds=0.5).landmarks * [1.2, 0.9]  # a broader face, in a picture
    track = Track(pixels)
    expected = avatar.render_batch(driving_poses(avatar.source_pose, track))
    np.testing.assert_array_equal([frame.copy() for frame in avatar.frames(track)], expected)


def test_an_avatar_is_played_without_torch_and_onnx(bundle, tmp_path):
    program = """
import sys
sys.modules["torch"] = sys.modules["onnx"] = None
import bilayer
avatar = bilayer.load_avatar(sys.argv[1])
print(sum(1 for frame in avatar.frames(bilayer.demo_motion(avatar, seconds=0.2))))"""
    assert last_line(program, bundle.folder, cwd=tmp_path) == "5"


def test_a_good_bundle_passes(bundle):
    ladder = bilayer.check(str(bundle.folder), poses=1)
    assert [step.name for step in ladder.steps] == ["onnx", "fp16-hybrid"]
    assert ladder.steps[0].ruling.verdict == "passed"


def test_a_broken_bundle_is_reported_and_refused_where_it_is_required(bundle, tmp_path):
    broken = rewritten(copied(bundle, tmp_path / "broken"), align_corners=not bundle.contract.align_corners)
    ladder = bilayer.check(broken.folder, poses=1)
    assert ladder.verdict == "broken"
    with pytest.raises(ParityError, match="align_corners"):
        ladder.require()


def test_a_network_is_checked_against_the_rules_of_a_target(bundle):
    onnx = bundle.path(bundle.contract.files.onnx)
    for path in (bundle.folder, str(onnx)):
        findings = bilayer.check(path, "snpe-1.32")
        assert [finding.rule for finding in findings if finding.severity == "error"] == []
    with pytest.raises(InputError, match=r"target: expected one of qairt, qairt-sdk, snpe-1\.32, litert; found 'none'"):
        bilayer.check(onnx, "none")


def test_an_onnx_alone_is_no_bundle(bundle, tmp_path):
    alone = tmp_path / "network.onnx"
    alone.write_bytes(bundle.path(bundle.contract.files.onnx).read_bytes())
    with pytest.raises(BundleError, match="is an ONNX network and not an avatar"):
        bilayer.check(alone)
    assert isinstance(bilayer.check(alone, "qairt"), list)


@pytest.mark.parametrize("room", ["runtime", "model", "export"])
def test_strings_do_for_paths_everywhere(room):
    package = importlib.import_module(f"bilayer.{room}")
    functions = [getattr(package, name) for name in package.__all__ if inspect.isfunction(getattr(package, name))]
    assert functions
    for function in functions:
        for name, hint in get_type_hints(function).items():
            if name != "return" and Path in get_args(hint):
                assert str in get_args(hint), (function.__qualname__, name)
            assert name == "return" or hint is not Path, (function.__qualname__, name)


# ---- what is not installed ----


@pytest.mark.parametrize("name", ["export_avatar('me.jpg')", "load_model('runs')", "check('out')"])
def test_without_its_extra_a_task_names_it(name, bundle, tmp_path):
    (tmp_path / "me.jpg").write_bytes(b"\xff\xd8\xff")
    program = f"""
import sys
sys.modules["torch"] = sys.modules["onnx"] = None
import bilayer
from bilayer.runtime import ToolMissingError
try:
    bilayer.{name}
except ToolMissingError as error:
    print(error)"""
    told = last_line(program, cwd=tmp_path)
    assert told in [f"{module} is not installed; pip install 'bilayer[export]'" for module in ("torch", "onnx")]


RUN_WITHOUT = """
import sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
from importlib.metadata import entry_points
(script,) = entry_points(group="console_scripts", name=sys.argv.pop(1))
sys.argv[0] = script.name
sys.exit(script.load()())
"""


@pytest.mark.parametrize(
    "command",
    [
        "bilayer-export {photo} --out {out}",
        "bilayer-export --check {onnx}",
        "bilayer-checkpoint inspect {runs}",
        "bilayer-parity {bundle}",
        "bilayer-bench macs",
        "bilayer-train base --config {settings} --data {data} --out {out}",
    ],
)
def test_a_command_without_its_extra_ends_with_5_and_the_line_that_installs_it(
    command, bundle, astronaut_path, tmp_path
):
    onnx = bundle.path(bundle.contract.files.onnx)
    settings = Path(__file__).parents[1] / "training" / "configs" / "tiny-1-base-64.toml"
    for kind in ("imgs", "keypoints", "segs", "coords"):
        (tmp_path / "data" / kind / "train" / "person" / "video" / "sequence").mkdir(parents=True)
    places = {"onnx": onnx, "runs": RUNS, "bundle": bundle.folder, "settings": settings, "data": tmp_path / "data"}
    words = command.format(photo=astronaut_path, out=tmp_path / "out", **places)
    done = subprocess.run(
        [sys.executable, "-c", RUN_WITHOUT, "torch,onnx", *words.split()],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert done.stderr.splitlines()[-1].endswith("is not installed; pip install 'bilayer[export]'")
    assert not (tmp_path / "out").exists()


def test_the_extra_is_that_of_the_packages_metadata():
    assert extra_of("torch") == "export"
    assert extra_of("pillow_heif") == "heic"
    assert extra_of("numpy") is None


def test_a_module_of_no_extra_stays_what_it_is():
    with pytest.raises(ModuleNotFoundError, match=r"bilayer\.nowhere"), naming_extras():
        import bilayer.nowhere  # noqa: F401
    with pytest.raises(ToolMissingError, match=r"bilayer\[export\]"), naming_extras():
        raise ModuleNotFoundError("No module named 'torch.nowhere'", name="torch.nowhere")


@pytest.mark.parametrize("module", ["ai_edge_litert", "onnx", "ncnn", "openvino"])
def test_a_module_that_does_not_load_is_told_with_the_reason(module):
    reason = f"{module}/native.so: undefined symbol: x"
    told = rf"^{module} cannot be loaded \({reason}\); pip install --force-reinstall 'bilayer\[\w+\]'$"
    with pytest.raises(ToolMissingError, match=told), naming_extras():
        raise ImportError(reason, name=f"{module}.native")
    with pytest.raises(ImportError, match="no name"), naming_extras():
        raise ImportError("no name")


@pytest.mark.parametrize("error", [ImportError, ModuleNotFoundError])
def test_a_library_that_is_not_there_is_no_fault_of_the_file(error):
    def load():
        raise error("no such symbol", name="ncnn.ncnn")

    with pytest.raises(ToolMissingError, match=r"bilayer\[ncnn\]"), naming_extras():
        reading(Path("avatar.onnx"), load)
