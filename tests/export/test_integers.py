"""The network in integers: what rounds it, what is written, and what is refused."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from bilayer.benchmarks.parity.cli import ParityOptions
from bilayer.benchmarks.parity.ladder import check_bundle
from bilayer.benchmarks.parity.layer_errors import compare_layers
from bilayer.benchmarks.parity.report import make_report
from bilayer.benchmarks.parity.rungs.integers import integer_rungs
from bilayer.benchmarks.parity.rungs.rung import Float64
from bilayer.export.formats.onnx_file import OnnxFile
from bilayer.export.formats.stored import quantised
from bilayer.export.inspect import bundle_show, onnx_show
from bilayer.export.integers import calibrate
from bilayer.export.integers.calibrate import extreme_poses, motion_poses, network_outputs
from bilayer.export.integers.gate import excess_of
from bilayer.export.integers.heads import with_heads_apart
from bilayer.export.integers.make import make_integers
from bilayer.export.integers.qdq import build_qdq, is_qdq, read_qdq
from bilayer.export.integers.quantize import fewest_wide, quantize
from bilayer.export.integers.rounding import _compensated, _inputs, rounded_layer
from bilayer.export.integers.scheme import MOST, activation_grid, make_grid
from bilayer.export.network.evaluate import evaluate, run_layer
from bilayer.export.network.layers import Add, Conv, ConvTranspose, Gemm, Weighted
from bilayer.export.network.onnx_read import read_layers
from bilayer.runtime.agreement import Agreement, psnr
from bilayer.runtime.bundle import PoseInput, read_bundle
from bilayer.runtime.engines.onnx_runtime import onnx_tensors
from bilayer.runtime.errors import BundleError, InputError, ParityError
from bilayer.runtime.motion.poses import choose_poses
from bilayer.runtime.player import AvatarPlayer
from bilayer.runtime.sampler.compositor import FrameCompositor
from tests.benchmarks.avatars import export_tiny, rewritten, subject_of
from tests.export.test_graph import UPSAMPLES, generators  # noqa: F401 (a fixture)

GIVEN = PoseInput("pose", 136, 0)
WIDE = ("pose_fc0", "block0_conv2", "head.seg")
RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="module")
def source(case_a_avatar):
    return case_a_avatar[2].pose


@pytest.fixture(scope="module")
def poses(source):
    return torch.cat([motion_poses(source, GIVEN, "calibrate"), extreme_poses(source, GIVEN)])


@pytest.fixture(scope="module")
def integers(generators, poses):  # noqa: F811
    with torch.inference_mode():
        return quantize(with_heads_apart(generators["deconv"]), "w8a16", poses, WIDE)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export_tiny(tmp_path_factory.mktemp("integers"), precision="w8a16")


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.5, 2.0), (-4.0, -1.0), (-1e-9, 1e6)])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_grid_holds_zero_and_its_range(low, high, bits):
    grid = make_grid(low, high, bits)
    values = torch.tensor([0.0, low, high, 10 * high + 10])
    rounded = grid.rounded(values)
    assert rounded[0] == 0
    assert torch.all((rounded[1:3] - values[1:3]).abs() <= grid.scale)
    assert rounded[3] <= max(high, 0) + grid.scale
    np.testing.assert_array_equal(grid.nearest(values.numpy()), rounded.numpy())


def test_numpy_and_torch_round_alike():
    values = RANDOM.normal(size=4096).astype(np.float32)
    grid = make_grid(-2.5, 3.5, 8)
    np.testing.assert_array_equal(grid.nearest(values), grid.rounded(torch.from_numpy(values)).numpy())


@pytest.mark.parametrize(
    "layer",
    [
        Gemm("a", ("x",), RANDOM.normal(size=(5, 7)), np.zeros(5)),
        Conv("a", ("x",), RANDOM.normal(size=(5, 3, 3, 3)), np.zeros(5), (1, 1, 1, 1)),
        Conv("a", ("x",), RANDOM.normal(size=(5, 3, 2, 2)), np.zeros(5), (1, 0, 0, 1)),
        ConvTranspose("a", ("x",), RANDOM.normal(size=(3, 5, 4, 4)), np.zeros(5)),
    ],
)
def test_what_is_multiplied_with_the_weights_makes_the_layers_output(layer):
    given = torch.from_numpy(RANDOM.normal(size=(2, 7) if isinstance(layer, Gemm) else (2, 3, 6, 5)))
    expected = run_layer(layer, [given])
    axis = 1 if isinstance(layer, ConvTranspose) else 0
    for number, (inputs, part) in enumerate(_inputs(layer, given)):
        rows = np.moveaxis(layer.weight[part], axis, 0).reshape(5, -1)
        found = inputs @ torch.from_numpy(rows).T
        place = expected[:, :, number // 2 :: 2, number % 2 :: 2] if axis else expected
        torch.testing.assert_close(found, place.movedim(1, -1).reshape(-1, 5))


def test_weights_make_up_for_each_others_rounding():
    """Inputs that are nearly alike: the nearest integers leave a multiple of the error."""
    random = np.random.default_rng(5)  # its own: tests run in any order
    inputs = torch.from_numpy(random.normal(size=(400, 1)) + 0.05 * random.normal(size=(400, 32)))
    rows, scale = random.normal(size=(6, 32)), np.full(6, 0.1)
    errors = [
        float((inputs @ torch.from_numpy(found * scale[:, None] - rows).T).square().mean())
        for found in (_compensated(rows, inputs, scale), np.rint(rows / 0.1))
    ]
    assert errors[0] < errors[1] / 3
    assert np.abs(_compensated(rows, inputs, scale)).max() <= MOST


def test_a_channels_mean_error_goes_into_its_bias():
    layer = Conv("a", ("x",), RANDOM.normal(size=(4, 3, 3, 3)), RANDOM.normal(size=4), (1, 1, 1, 1))
    given = torch.from_numpy(RANDOM.normal(size=(2, 3, 16, 16)) + 1).float()
    target = run_layer(layer, [given]) + 0.25
    ((made, scale),) = rounded_layer(layer, given, target, 1e-4, wide=False)
    error = (target - run_layer(made, [given])).mean((0, 2, 3))
    assert error.abs().max() < 1e-4
    np.testing.assert_allclose(np.rint(made.bias / (1e-4 * scale)), made.bias / (1e-4 * scale), atol=1e-2)


def test_16_bits_are_two_layers_of_8_and_their_sum():
    layer = ConvTranspose("a", ("x",), RANDOM.normal(size=(3, 5, 4, 4)), RANDOM.normal(size=5))
    given = torch.from_numpy(RANDOM.normal(size=(1, 3, 8, 8)))
    expected = run_layer(layer, [given])
    (high, coarse), (low, fine), (total, none) = rounded_layer(layer, given, expected, 1e-5, wide=True)
    assert (high.name, low.name, total) == ("a.high", "a.low", total)
    assert none is None
    assert isinstance(total, Add)
    assert total.name == "a"
    assert total.inputs == (high.name, low.name)
    for part, scale in ((high, coarse), (low, fine)):
        steps = part.weight / scale.reshape(1, -1, 1, 1)
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
        assert np.abs(steps).max() <= MOST
    assert np.abs(high.weight + low.weight - layer.weight).max() <= fine.max() / 2 * (1 + 1e-6)
    found = run_layer(high, [given]) + run_layer(low, [given])
    assert psnr(found.numpy(), expected.numpy(), 2.0) > 70


@pytest.mark.parametrize("variant", [*UPSAMPLES, "three heads"])
def test_onnx_runtime_computes_what_was_simulated(generators, poses, variant):  # noqa: F811
    with torch.inference_mode():
        made = quantize(generators[variant], "w8a16", poses[::3], ["block0_conv1"])
        expected = network_outputs(made.generator, poses[1:2], made.grids)
    found = onnx_tensors(build_qdq(made).SerializeToString(), 1)(poses[1].numpy())
    assert found.keys() == expected.keys()
    for name, values in found.items():
        # sums in another order round to a neighbour here and there
        assert psnr(values, expected[name].numpy(), 2.0) > 75


def test_a_qdq_model_reads_back(integers):
    model = build_qdq(integers, {"a": "b"})
    read = read_qdq(model, "it")
    assert is_qdq(model)
    assert not is_qdq(read.plain)
    assert dict(read.grids) == dict(integers.grids)
    for found, made in zip(read_layers(read.plain, "it"), integers.generator.layers, strict=True):
        assert (found.name, found.inputs, type(found)) == (made.name, made.inputs, type(made))
        if isinstance(made, Weighted):
            np.testing.assert_array_equal(found.weight, made.weight.astype(np.float32))
            np.testing.assert_array_equal(found.bias, made.bias.astype(np.float32))
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert {stored[name] for name in stored if name.endswith(".weight")} == {onnx.TensorProto.INT8}
    assert {stored[name] for name in stored if name.endswith(".bias")} == {onnx.TensorProto.INT32}
    assert integers.wide == WIDE


def test_another_qdq_model_is_told(integers):
    model = build_qdq(integers)
    del model.graph.node[5].input[1:]
    with pytest.raises(BundleError, match=r"it: not a network in integers as bilayer-export writes it"):
        read_qdq(model, "it")


@pytest.mark.parametrize("variant", [*UPSAMPLES, "three heads"])
def test_heads_apart_are_the_same_network(generators, poses, variant):  # noqa: F811
    generator = generators[variant]
    apart = with_heads_apart(generator)
    expected = evaluate(generator, poses[:2].double())
    found = evaluate(apart, poses[:2].double())
    for name in generator.output_tensors:
        torch.testing.assert_close(found[name], expected[name])
    if variant == "three heads":
        assert apart.layers == generator.layers
    else:
        assert {"head.delta_uv", "head.lf_rgb", "head.seg"} <= {layer.name for layer in apart.layers}
        assert apart.macs().keys() - generator.macs().keys() == {"head.delta_uv", "head.lf_rgb", "head.seg"}


def test_an_activations_grid_is_qualcomms(integers):
    assert integers.grids["layers"] == integers.grids["layers.seg"] == activation_grid("tanh", 16)
    assert activation_grid("sigmoid", 8).rounded(torch.tensor([0.0, 0.25, 1.0])).tolist() == [0, 0.25, 255 / 256]


def test_reshaped_and_upsampled_numbers_keep_their_grid(integers):
    assert integers.grids["pose_grid"] == integers.grids["pose_fc3" if "pose_fc3" in integers.grids else "pose_fc1"]
    assert integers.grids["block0_skip_up"] == integers.grids["block0_skip"]


def test_other_poses_judge(source):
    every = [*motion_poses(source, GIVEN, "calibrate"), *motion_poses(source, GIVEN, "search")]
    every += list(extreme_poses(source, GIVEN))
    judges = {pose.tobytes() for count in (2, 3, 4, 8) for pose in choose_poses(source, count)}
    assert not judges & {pose.numpy().tobytes() for pose in every}
    motion, extremes = torch.stack(every[:16]), torch.stack(every[20:])
    assert extremes.amax() > motion.amax() or extremes.amin() < motion.amin()
    furthest = [float((poses - torch.from_numpy(source)).abs().max()) for poses in (motion, extremes)]
    assert furthest[1] > 1.2 * furthest[0]


@pytest.mark.parametrize(("limit", "wide"), [(0.0, None), (1e9, ())])
def test_a_gate_that_all_or_nothing_passes(generators, poses, limit, wide):  # noqa: F811
    generator = generators["deconv"]
    with torch.inference_mode():
        found = fewest_wide(generator, "w8a16", poses[:4], poses[4:6], lambda made: 1.0 if limit else 2.0)
    expected = tuple(layer.name for layer in generator.layers if isinstance(layer, Weighted)) if wide is None else wide
    assert found.wide == expected


def test_the_fewest_are_found(generators, poses):  # noqa: F811
    """The gate is the error of the output against the float network; one weight less in 16 bits, and it is over."""
    generator, judging = generators["deconv"], poses[16:18]
    with torch.inference_mode():
        exact = network_outputs(generator, judging)["layers"]

        def error(made):
            return float((made["layers"] - exact).square().mean().sqrt())

        def of(wide):
            made = quantize(generator, "w8a16", poses[:8], wide)
            return error(network_outputs(made.generator, judging, made.grids))

        names = [layer.name for layer in generator.layers if isinstance(layer, Weighted)]
        limit = (of(()) * of(names)) ** 0.5
        found = fewest_wide(generator, "w8a16", poses[:8], judging, lambda made: error(made) / limit)
        assert 0 < len(found.wide) < len(names)
        assert of(found.wide) <= limit


@pytest.mark.parametrize("wide", [(), ("block1_conv1", "head.seg"), WIDE])
def test_what_is_known_of_other_widths_changes_nothing(generators, poses, integers, wide):  # noqa: F811
    heard: list[str] = []
    with torch.inference_mode():
        generator = with_heads_apart(generators["deconv"])
        alone = quantize(generator, "w8a16", poses, wide)
        found = quantize(generator, "w8a16", poses, wide, integers, heard.append)
    assert build_qdq(found).SerializeToString(deterministic=True) == build_qdq(alone).SerializeToString(
        deterministic=True
    )
    assert heard == [f"rounding {layer.name}" for layer in generator.layers if isinstance(layer, Weighted)]


def test_the_gate_as_one_number():
    passing = Agreement({"delta_uv": 30.0, "lf_rgb": 60.0, "seg": 80.0, "frame": 20.0}, 0.25, frame_ssim=0.995)
    assert excess_of(passing) == pytest.approx(1)
    assert excess_of(replace(passing, uv_pixels=0.5)) == pytest.approx(2)
    assert excess_of(replace(passing, psnr_db={"lf_rgb": 40.0})) == pytest.approx(10)
    assert excess_of(replace(passing, frame_ssim=0.97)) == pytest.approx(3)
    assert excess_of(replace(passing, not_finite=1)) == np.inf


def test_threads_do_not_change_a_byte(generators, source):  # noqa: F811
    texture = RANDOM.uniform(-1, 1, (3, 64, 64)).astype(np.float32)
    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        made = make_integers(
            generators["deconv"], "w8a16", GIVEN, source, FrameCompositor(texture, False, size=64, engine="numpy")
        )
        found.append(build_qdq(made).SerializeToString(deterministic=True))
    torch.set_num_threads(before)
    assert found[0] == found[1]


def _changed(generator, name, **fields):
    layers = [replace(layer, **fields) if layer.name == name else layer for layer in generator.layers]
    return replace(generator, layers=tuple(layers))


def test_numbers_that_are_none_are_refused(generators, poses):  # noqa: F811
    generator = generators["deconv"]
    weight = next(layer.weight for layer in generator.layers if layer.name == "block0_conv1")
    broken = _changed(generator, "block0_conv1", weight=np.where(weight == weight.max(), np.nan, weight))
    with pytest.raises(InputError, match="w8a16: layer block0_conv1 gives numbers that are not finite"):
        quantize(broken, "w8a16", poses[:2])


def test_a_constant_network_is_refused(generators, poses):  # noqa: F811
    generator = generators["deconv"]
    zeros = _changed(generator, "pose_fc0", weight=np.zeros(generator.layers[0].weight.shape), bias=np.zeros(1))
    first = generator.layers[0]
    zeros = _changed(generator, first.name, weight=np.zeros_like(first.weight), bias=np.zeros_like(first.bias))
    with pytest.raises(InputError, match=rf"w8a16: layer {first.name}: is 0 in every pose and pixel"):
        quantize(zeros, "w8a16", poses[:2])


def test_kept_norms_are_refused(generators, poses):  # noqa: F811
    with pytest.raises(InputError, match=r"is a norm that was kept; leave --keep-norms out"):
        quantize(generators["norms kept"], "w8a16", poses[:2])


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
    assert ParityOptions(exported.folder).check().contract.quantization is not None


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


def _without_integers(bundle, folder):
    import shutil

    shutil.copytree(bundle.folder, folder / "copy")
    copy = read_bundle(folder / "copy")
    files = replace(copy.contract.files, integers=None)
    contract = replace(copy.contract, files=files, quantization=None)
    (copy.folder / "avatar.json").write_text(contract.to_json())
    return read_bundle(copy.folder)


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


def _scales_and_bytes(tensor):
    return tensor.scales, tensor.bytes


def test_the_dlc_is_the_qdq_model_to_the_bit(integers, tmp_path):
    pytest.importorskip("onnxruntime_qnn", reason="Qualcomm's package makes the .dlc")
    from bilayer.export.convert.run import convert_onnx
    from bilayer.export.dlc.compare import compare_dlc
    from bilayer.export.dlc.read import as_text, describe, read_dlc, stored_tensors

    model = build_qdq(integers)
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    convert_onnx(path, tmp_path / "a.dlc")
    dlc = read_dlc(tmp_path / "a.dlc")
    report = compare_dlc(dlc, model)
    assert {steps.bits for steps in report.graph.steps.values()} == {16}
    shown = as_text(dlc)
    assert "(sfixed8, 3 scales)" in shown
    assert "ufixed16" in shown
    assert describe(dlc)["layers"][1]["outputs"][0]["steps"]["bits"] == 16
    found, expected = (
        {one.name: one for one in quantised(tensors) if one.name.endswith(".weight")}
        for tensors in (stored_tensors(dlc), onnx_show.stored_tensors(OnnxFile(model)))
    )
    assert found.keys() == expected.keys()
    for name, one in found.items():
        assert (one.dtype, one.symmetric, one.scales, one.bytes) == ("int8", True, *_scales_and_bytes(expected[name]))
    assert describe(dlc)["bytes_by_type"]["int8"] >= sum(one.bytes for one in expected.values())
    assert "| weights " in shown
    for name, change in (("block0_act1.zero", 1), ("block0_conv1.weight", 1)):
        wrong = onnx.ModelProto()
        wrong.CopyFrom(model)
        tensor = next(tensor for tensor in wrong.graph.initializer if tensor.name == name)
        array = numpy_helper.to_array(tensor).copy()
        array.reshape(-1)[:1] -= np.sign(array.reshape(-1)[:1]).astype(array.dtype) * change
        tensor.CopyFrom(numpy_helper.from_array(array, name))
        with pytest.raises(ParityError, match=name.partition(".")[0]):
            compare_dlc(dlc, wrong)


def test_evaluation_without_grids_is_the_float_network(generators, poses):  # noqa: F811
    generator = generators["nearest"]
    expected = evaluate(generator, poses[:2])
    for name, values in network_outputs(generator, poses[:2]).items():
        torch.testing.assert_close(values, expected[name])


def test_a_range_that_is_none_is_told():
    with pytest.raises(InputError, match=r"it: is not finite"):
        calibrate.grid_of(torch.tensor([1.0, np.inf]), 8, 0.0, "it")


def test_a_phones_results_of_integers_are_held_to_fp16_arithmetic(exported, tmp_path):
    from bilayer.android_harness.routes.vendor import held_to

    assert [held_to(mode, exported) for mode in ("gpu", "cpu", "gpu-fp16-hybrid", "ncnn-cpu")] == [
        *["fp16"] * 3,
        "fp32",
    ]
    assert held_to("cpu", _without_integers(exported, tmp_path)) == "fp32"
