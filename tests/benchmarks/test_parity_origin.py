"""What the ladder is climbed with: a phone's results, and the checkpoint and photo of the export."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from PIL import Image

from bilayer.benchmarks.parity.ladder import climb
from bilayer.benchmarks.parity.layer_errors import compare_layers
from bilayer.benchmarks.parity.rungs.device import open_device, write_device_inputs
from bilayer.benchmarks.parity.rungs.rung import EmulatedRung, Float64, OnnxRung
from bilayer.benchmarks.parity.rungs.trained import make_trained
from bilayer.export.network.onnx_read import read_generator
from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import export_avatar
from bilayer.export.portraits import read_portraits
from bilayer.model.checkpoint import read_checkpoint, save_checkpoint
from bilayer.runtime.errors import BundleError, InputError
from tests import golden
from tests.benchmarks.avatars import rewritten, source_of, subject_of
from tests.benchmarks.ladders import verdicts

# ---- a phone's outputs ----


def pulled(subject, folder, *, nhwc, change=lambda tensor: tensor):
    """What a phone would have written, from float32."""
    rung = OnnxRung(subject)
    for i in range(len(subject.poses)):
        (folder / f"Result_{i}").mkdir(parents=True)
        tensors = rung.layers(i)
        for name in subject.own.output_tensors:
            tensor = change(tensors[name])
            tensor = tensor.transpose(0, 2, 3, 1) if nhwc else tensor
            (folder / f"Result_{i}" / f"{name}.raw").write_bytes(np.ascontiguousarray(tensor).tobytes())
    return folder


def device_ladder(subject, folder, layout="auto", precision="fp16-hybrid"):
    exact = Float64(subject, "")
    layers = exact.layers(0)
    truth = {name: layers[name] for name in subject.own.output_tensors}
    rung = open_device(subject, folder, layout, precision, truth)
    ladder = climb(subject, [EmulatedRung(subject, "sequential"), rung])
    return replace(ladder, layers=compare_layers(subject.generator, exact, rung)), rung


@pytest.mark.parametrize("nhwc", [True, False])
def test_the_layout_of_a_phone_is_recognised(made, tmp_path, nhwc):
    subject = subject_of(made[1])
    ladder, rung = device_ladder(subject, pulled(subject, tmp_path / "out", nhwc=nhwc))
    assert verdicts(ladder)["device"] == "passed"
    assert f"read as {'NHWC' if nhwc else 'NCHW'} (recognised)" in rung.label


@pytest.mark.parametrize("precision", ["fp16-hybrid", "fp32", "fp16"])
def test_misread_outputs_are_caught_and_named(made, tmp_path, precision):
    subject = subject_of(made[1])
    ladder, _ = device_ladder(subject, pulled(subject, tmp_path / "out", nhwc=True), "nchw", precision)
    assert verdicts(ladder)["device"] == "broken"
    assert ladder.layers.over.layer == "layers"
    assert "those of NHWC, read as NCHW" in ladder.layers.over.suggestion


def test_swapped_colours_of_a_phone_are_caught_and_named(made, tmp_path):
    subject = subject_of(made[1])
    folder = pulled(subject, tmp_path / "out", nhwc=False, change=lambda tensor: tensor[:, [0, 1, 4, 3, 2, 5]])
    ladder, _ = device_ladder(subject, folder)
    assert verdicts(ladder)["device"] == "broken"
    assert "2 holds 4, 4 holds 2" in ladder.layers.over.suggestion


def test_the_inputs_of_a_phone_are_the_poses(made, tmp_path):
    subject = subject_of(made[1], 3)
    lines = write_device_inputs(subject, tmp_path / "in").read_text().splitlines()
    assert lines == ["#layers", *(f"pose:=pose_{i:04}.raw" for i in range(3))]
    for i in range(3):
        np.testing.assert_array_equal(np.fromfile(tmp_path / "in" / f"pose_{i:04}.raw", "<f4"), subject.encoded()[i])


def test_missing_and_cut_outputs_of_a_phone(made, tmp_path):
    subject = subject_of(made[1])
    folder = pulled(subject, tmp_path / "out", nhwc=False)
    path = folder / "Result_1" / "layers.raw"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match="bytes, expected"):
        device_ladder(subject, folder)
    path.unlink()
    with pytest.raises(InputError, match=r"Result_1/layers\.raw: missing"):
        device_ladder(subject, folder)


# ---- sources that are not the avatar's ----


def test_another_checkpoint_or_photo_is_refused(made, bundle):
    other = make_other_checkpoint(made[0] / "other.safetensors")
    with pytest.raises(InputError, match="not the checkpoint that the avatar was exported from"):
        make_trained(subject_of(bundle), replace(source_of(made[0]), checkpoint=other))
    moved = rewritten(bundle, source=replace(bundle.contract.source, pose=[0.1] * 136))
    with pytest.raises(InputError, match="not the face"):
        make_trained(replace(subject_of(bundle), bundle=moved), source_of(made[0]))


def test_a_turned_photo_is_compared_as_it_was_exported(tmp_path):
    case = golden.load("case_a/preproc.npz")
    Image.fromarray(np.ascontiguousarray(np.rot90(case["source_image"]))).save(tmp_path / "turned.png")
    np.save(tmp_path / "face.npy", case["source_landmarks"])
    source = replace(source_of(tmp_path), photo=tmp_path / "turned.png")
    options = ExportOptions(source.photo, tmp_path / "avatar.dlc", "none", source.checkpoint, source.landmarks)
    bundle = export_avatar(replace(options, rotate=90, mask=False, refine="none", size=64)).bundle
    make_trained(subject_of(bundle), replace(source, rotate=90))
    with pytest.raises(InputError, match=r"turned\.png|texture that this photo gives"):
        make_trained(subject_of(bundle), source)


def test_which_face_and_who_found_it_are_as_the_export_had_them(made, bundle, monkeypatch):
    seen = []

    def read(options, config, photos=None):
        seen.append((options.face, options.landmarker, options.rotate))
        return read_portraits(options, config, photos)

    monkeypatch.setattr("bilayer.benchmarks.parity.rungs.trained.read_portraits", read)
    make_trained(subject_of(bundle), replace(source_of(made[0]), face=2, landmarker="face-alignment"))
    assert seen == [(2, "face-alignment", 0)]


def make_other_checkpoint(path):
    config, tensors = read_checkpoint(source_of(path.parent).checkpoint)
    for tensor in tensors["inference_generator"].values():
        tensor += 1
    save_checkpoint(path, config, tensors)
    return path


def test_a_network_of_another_kind_is_refused(made):
    model = onnx.load(made[1].path(made[1].contract.files.onnx))
    model.graph.node[3].op_type = "Softmax"
    with pytest.raises(BundleError, match="a Softmax"):
        read_generator(model, made[1].contract, "avatar.onnx")
