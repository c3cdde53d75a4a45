"""An option that would do nothing beside another is refused in words, with 2, before anything is loaded."""

import shlex

import pytest
from click.testing import CliRunner

from bilayer.cli import main
from bilayer.runtime.jobs.options import JobOptions
from tests import golden
from tests.file_kinds import KINDS
from tests.outcomes import check_told_at_once
from tests.runtime.test_bundle import contract

REFUSED = {  # and what is to be left away
    "checkpoint inspect weights.safetensors --epoch 3": "weights.safetensors has no runs to choose among: leave",
    "checkpoint inspect weights.safetensors --experiment a --epoch 3": "leave --experiment and --epoch away",
    "checkpoint inspect --preset medium --epoch 3": "a --preset has no runs to choose among: leave --epoch away",
    "checkpoint convert weights.safetensors --experiment a": "leave --experiment away",
    "bench frame --bundle avatar --size 64": "--bundle is played as it is: leave --size away",
    "bench frame --bundle avatar --preset medium --upsample phase": "leave --preset and --upsample away",
    "export --check avatar/avatar.onnx --size 64": "--check and --inspect make no avatar: leave --size away",
    "export --inspect avatar --target none --out a.dlc": "make no avatar: leave --out and --target away",
    "export --inspect avatar --no-mask": "make no avatar: leave --no-mask away",
    "export me.png --landmarks face.npy --face 2": "--landmarks says where the face is: leave --face away",
    "export me.png --landmarks face.npy --landmarker mediapipe": "leave --landmarker away",
    "export me.png you.png --landmarks face.npy --face 1 --landmarker mediapipe": "leave --face away",
    "render avatar --demo-motion --out a.gif --retarget absolute": "leave --retarget away",
    "web avatar --out page --port 80": "--out writes the page and serves nothing: leave --port away",
    "web avatar --out page --host 0.0.0.0 --open --port 80": "leave --port, --host and --open away",
    "parity avatar --photo me.png --landmarks face.npy --face 2": "--landmarks says where the face is: leave --face",
    "parity avatar --photo me.png --landmarks face.npy --landmarker mediapipe": "leave --landmarker away",
    "parity avatar --photo me.png --other you.png --landmarks face.npy --face 1 --landmarker mediapipe": "leave --face",
    "parity avatar --layer-threshold 50": "layers are compared with --layers alone: leave --layer-threshold away",
    "parity avatar --between float64 fp16-hybrid": "layers are compared with --layers alone: leave --between away",
    "parity avatar --device-layout nhwc": "there are files of --device-outputs alone: leave --device-layout away",
    "parity avatar --quick --slow-poses 2": "--quick leaves the HTP simulator out: leave --slow-poses away",
    "parity avatar --write-inputs inputs --quick": "--write-inputs compares nothing: leave --quick away",
    "parity avatar --write-inputs inputs --photo me.png --other you.png": "leave --photo and --other away",
    "parity avatar --write-inputs inputs --slow-poses 2": "leave --slow-poses away",
    "parity avatar --write-inputs inputs --layers --layer-threshold 9": "nothing: leave --layer-threshold away",
    "parity avatar --write-inputs inputs --layers --between float64 fp16": "nothing: leave --between away",
    "parity avatars --between float64 fp16-hybrid": "layers are compared with --layers alone: leave --between away",
    "parity avatars --quick --ray auto --jobs 2": "--ray takes the cluster's processors: leave --jobs away",
    "export avatars --ray auto --jobs 2": "--ray takes the cluster's processors: leave --jobs away",
    "eval checkpoint weights.safetensors --data avatar --ray auto --jobs 2": "leave --jobs away",
    "prepare heads --out made --ray auto --jobs 1": "leave --jobs away",
    "prepare videos film.mp4 --out made --jobs 1 --ray auto": "leave --jobs away",
    "eval checkpoint weights.safetensors --data avatar --sheet-rows 2": "rows of a --sheet alone: leave --sheet-rows",
    "device bench avatar --retarget absolute": "leave --retarget away",
    "device run avatar --out a.gif --retarget procrustes": "leave --retarget away",
}
TAKEN = {  # what has an effect, or is what would be without it: how it ends, and what comes of it
    f"checkpoint inspect {golden.CASE_A / 'runs'} --epoch 3": (0, "bilayer-checkpoint convert"),
    f"checkpoint inspect {golden.CASE_A / 'runs'} --epoch 7": (3, "nothing saved at epoch 7; the last is 3"),
    "checkpoint inspect --preset medium": (0, "preset medium"),
    "export --check avatar/avatar.onnx --target snpe-1.32 --json": (3, "avatar.onnx: not a valid ONNX model"),
    "export me.png you.png --landmarks face.npy --landmarker face-alignment": (3, "face.npy: landmarks: expected 68"),
    "parity avatar --photo me.png --other you.png --landmarks face.npy --landmarker mediapipe": (3, "face.npy: landma"),
    "bench frame --preset demo --size 16 --upsample nearest --repeats 1 --warm-up 0": (0, "frame size 16"),
    "eval checkpoint weights.safetensors --data avatar --jobs 2": (3, "avatar: expected a folder imgs/test of"),
    "eval checkpoint weights.safetensors --data avatar --ray auto": (
        3,
        "avatar: expected a folder imgs/test of PERSON",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("given")
    for name in ("me.png", "weights.safetensors"):
        (place / name).write_bytes(KINDS[name][0])
    (place / "you.png").write_bytes(KINDS["me.png"][0])
    (place / "face.npy").write_bytes(KINDS["me.npy"][0])
    for avatar in (place / "avatar", place / "avatars/one", place / "avatars/two"):
        avatar.mkdir(parents=True)
        for suffix in (".onnx", ".safetensors", ".preview.png", ".dlc"):
            (avatar / f"avatar{suffix}").write_bytes(b"\x12\x01" + suffix[:1].encode())
        (avatar / "avatar.json").write_text(contract(avatar).to_json())
    return place


def test_an_option_that_would_do_nothing_is_refused(folder):
    check_told_at_once(folder, {words: (2, told) for words, told in REFUSED.items()})
    assert not (folder / "page").exists()
    assert not (folder / "made").exists()


@pytest.mark.parametrize("words", TAKEN)
def test_an_option_that_has_an_effect_is_not(folder, monkeypatch, words):
    monkeypatch.chdir(folder)
    code, told = TAKEN[words]
    done = CliRunner().invoke(main, shlex.split(words))
    assert (done.exit_code, told in done.output, "away" in done.stderr) == (code, True, False), done.output


def test_a_program_may_give_what_it_will():
    assert JobOptions(jobs=2, ray="auto").workers(4).processes == 2
