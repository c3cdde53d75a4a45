"""A bundle's integers: what it tells of them, what the ladder finds in them, which exports refuse them."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bilayer.benchmarks.parity.cli import ParityOptions
from bilayer.benchmarks.parity.ladder import check_bundle
from bilayer.benchmarks.parity.layer_errors import compare_layers
from bilayer.benchmarks.parity.report import make_report
from bilayer.benchmarks.parity.rungs.integers import integer_rungs
from bilayer.benchmarks.parity.rungs.rung import Float64
from bilayer.export.inspect import bundle_show
from bilayer.export.network.layers import Conv
from bilayer.runtime.agreement import psnr
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.errors import BundleError, InputError, ParityError
from bilayer.runtime.motion.poses import choose_poses
from bilayer.runtime.player import AvatarPlayer
from tests.benchmarks.avatars import export_tiny, rewritten, subject_of
from tests.export.integers.integer_bundles import _without_integers


def test_the_bundle_tells_its_integers_and_plays_both(exported):
    made, file = exported.contract.quantization, exported.contract.files.integers
    assert made.precision == "w8a16"
    assert made.uv_pixels <= 0.25
    assert made.frame_db > 40
    assert file.name == "avatar.w8a16.onnx"
    exact, rounded = (AvatarPlayer.load(exported.folder, precision=one) for one in ("fp32", "w8a16"))
    assert rounded.engine == "onnxruntime"
    assert rounded.precision == "w8a16"
    pose = choose_poses(exact.source_pose, 2)[1]
    assert 40 < psnr(rounded.render(pose), exact.render(pose), 255.0) < 100
    with pytest.raises(BundleError, match=r"precision w8a8: its integers are w8a16; bilayer-export --precision w8a8"):
        AvatarPlayer.load(exported.folder, precision="w8a8")


def test_inspecting_a_bundle_tells_what_is_in_integers(exported):
    contract, files = exported.contract, exported.contract.files
    told = bundle_show.describe(exported)
    assert told["quantization"]["wide"] == contract.quantization.wide
    sizes = {one["name"]: one["bytes_by_type"] for one in told["files"]}
    assert set(sizes[files.onnx.name]) == {"float32"}
    assert sizes[files.texture.name] == {}
    tensors = {one["name"]: one for one in told["integers"]}
    name = next(name for name in tensors if name.endswith("conv2.weight") or name.endswith("conv1.weight"))
    weight, between = tensors[name], tensors[name.removesuffix(".weight")]
    assert (weight["of"], weight["bits"], weight["symmetric"], weight["per_channel"]) == ("weights", 8, True, True)
    assert weight["scales"] == weight["shape"][weight["axis"]]
    assert (between["of"], between["bits"], between["per_channel"]) == ("computed", 16, False)
    assert between["range"][1] - between["range"][0] == pytest.approx(65535 * between["scale"][0])
    text = bundle_show.as_text(exported)
    assert f"{contract.quantization.frame_db:.1f} dB of the frame" in text
    assert f"| {name} " in text


def test_the_ladder_has_the_rungs_of_integers(exported):
    ladder = check_bundle(exported)
    ladder.require()
    step = {step.name: step for step in ladder.steps}["w8a16-ort"]
    assert step.kind == "w8a16"
    assert step.above[0] == "onnx"  # not the emulation that stands above it
    assert f"{step.above[1].agreement.worst_db:.1f} (onnx)" in make_report(ladder).markdown()
    assert 40 < step.truth.agreement.worst_db < 100
    assert {check.name: check.verdict for check in ladder.checks}["integers"] == "passed"
    assert ParityOptions(exported.folder).check()[0].contract.quantization is not None


def test_layers_are_compared_by_their_names(exported):
    subject = subject_of(exported)
    rung, _ = integer_rungs(subject, simulated=False)
    report = compare_layers(subject.generator, Float64(subject, ""), rung)
    assert {error.layer for error in report.layers} == {layer.name for layer in subject.generator.layers} - {"head"}
    assert report.fault is None
    assert all(error.sqnr_db > 15 for error in report.layers)


@pytest.mark.parametrize(
    ("of", "change", "told"),
    [
        ("weight.scale", 1.5, "its own doing ("),
        ("weight", -1, "its integers, or the steps that they count, stand for other numbers"),
        ("bias", 0, "bias: that of channel"),
    ],
)
def test_a_fault_of_the_integers_is_found_in_its_layer(exported, of, change, told):
    subject = subject_of(exported)
    rung, _ = integer_rungs(subject, simulated=False)
    network = onnx.ModelProto()
    network.CopyFrom(rung.network)
    numbers = {one.name: one for one in network.graph.initializer}
    layer = next(
        one.name for one in subject.generator.layers if isinstance(one, Conv) and f"{one.name}.{of}" in numbers
    )
    planted = numbers[f"{layer}.{of}"]
    values = onnx.numpy_helper.to_array(planted)
    planted.CopyFrom(onnx.numpy_helper.from_array((values * change).astype(values.dtype), planted.name))
    report = compare_layers(subject.generator, rung, replace(rung, network=network), threshold=30)
    assert (report.over.layer, told in report.over.suggestion) == (layer, True)


def test_a_float_bundle_has_no_integers(exported, tmp_path):
    bundle = rewritten(_without_integers(exported, tmp_path))
    assert "quantization" not in (bundle.folder / "avatar.json").read_text()
    assert integer_rungs(subject_of(bundle)) == []
    with pytest.raises(BundleError, match="it has no network in integers; bilayer-export --precision w8a16"):
        AvatarPlayer.load(bundle.folder, precision="w8a16")


@pytest.mark.parametrize("fault", ["a weight", "a grid", "the precision"])
def test_planted_faults_are_told(exported, tmp_path, fault):
    import shutil

    from bilayer.runtime.bundle import describe_file

    shutil.copytree(exported.folder, tmp_path / "copy")
    contract = exported.contract
    path = tmp_path / "copy" / contract.files.integers.name
    model = onnx.load(path)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    if fault == "the precision":
        contract = replace(contract, quantization=replace(contract.quantization, precision="w8a8"))
    else:
        name = "block0_conv1.weight" if fault == "a weight" else "block0_act1.scale"
        name = name if name in tensors else "block0_conv1.high.weight"
        array = numpy_helper.to_array(tensors[name]).copy()
        if fault == "a weight":
            array.reshape(-1)[0] += 3 if array.reshape(-1)[0] < 100 else -3
        else:
            array = array * np.float32(2)
        tensors[name].CopyFrom(numpy_helper.from_array(array, name))
        path.write_bytes(model.SerializeToString(deterministic=True))
        contract = replace(contract, files=replace(contract.files, integers=describe_file(path)))
    (tmp_path / "copy" / "avatar.json").write_text(contract.to_json())
    ladder = check_bundle(read_bundle(tmp_path / "copy"))
    assert {check.name: check.verdict for check in ladder.checks}["integers"] == "broken"
    with pytest.raises(ParityError, match="integers"):
        ladder.require()


def test_eight_bits_between_layers_are_refused_unless_asked_for(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(ParityError, match=r"w8a8 against the trained model: .*take w8a16, or --no-verify"):
        export_tiny(tmp_path / "a", precision="w8a8")
    assert not list((tmp_path / "a" / "avatar").iterdir())
    (tmp_path / "b").mkdir()
    bundle = export_tiny(tmp_path / "b", precision="w8a8", verify=False)
    assert bundle.contract.quantization.frame_db is None
    assert bundle.contract.files.integers.name == "avatar.w8a8.onnx"


def test_a_target_that_reads_no_integers_is_told(tmp_path):
    with pytest.raises(InputError, match=r"--precision w8a16: target snpe-1.32 reads no integers"):
        export_tiny(tmp_path, precision="w8a16", target="snpe-1.32")


@pytest.mark.parametrize("variable", ["SNPE_ROOT", "QAIRT_SDK_ROOT"])
def test_integers_are_for_the_package_where_an_sdk_is_set_up(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, str(tmp_path / "sdk"))
    bundle = export_tiny(tmp_path, precision="w8a8", verify=False, target=None)
    assert bundle.contract.dlc.target == "qairt"


def test_a_phones_results_of_integers_are_held_to_fp16_arithmetic(exported, tmp_path):
    from bilayer.android_harness.routes.vendor import held_to

    assert [held_to(mode, exported) for mode in ("gpu", "cpu", "gpu-fp16-hybrid", "ncnn-cpu")] == [
        *["fp16"] * 3,
        "fp32",
    ]
    assert held_to("cpu", _without_integers(exported, tmp_path)) == "fp32"
