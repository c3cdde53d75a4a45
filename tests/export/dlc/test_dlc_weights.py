"""A .dlc's weights and ends against the ONNX: what is equal passes, any one difference is named."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilayer.export.dlc.check import check_io, compare_weights
from bilayer.export.dlc.read import parse_dlc, read_dlc
from bilayer.runtime.errors import InputError, ParityError
from tests.export import dlc_writer
from tests.export.dlc.dlc_files import MODEL, NETWORKS, WRITTEN
from tests.export.networks import avatar_like, constants, with_constant

# --- files written after the public description -------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_written_file_reads_back(kind):
    dlc = parse_dlc(WRITTEN[kind], kind)
    weights = [array for name, array in dlc.weights.items() if not name.endswith("_alpha")]
    assert compare_weights(dlc, MODEL).parameters == sum(array.size for array in weights)
    named = [node.name for node in dlc.nodes if not node.name.endswith((".nchw", "_turn"))]  # pictures to NHWC and back
    assert named == [node.name for node in MODEL.graph.node]
    assert [end.layout for end in check_io(dlc, MODEL)] == ["", *["NHWC" if kind == "v3" else "NCHW"] * 3]


def test_a_v3_file_has_its_metadata():
    metadata = "converter-command=snpe-onnx-to-dlc -i a.onnx\nconverter-version=1.32.0.555\nmodel-version=\x1b[2Jx\n"
    dlc = parse_dlc(dlc_writer.v3(MODEL, metadata=metadata), "v3")
    assert (dlc.version, dlc.converter, dlc.converter_version) == (3, "snpe-onnx-to-dlc -i a.onnx", "1.32.0.555")
    assert dlc.metadata["model-version"] == "\ufffd[2Jx"
    assert "SNPE 1.25 to 1.x" in dlc.readable_by


@given(conv=st.permutations(range(4)), deconv=st.permutations(range(4)), gemm=st.permutations(range(2)))
@settings(max_examples=10, deadline=None)
def test_a_v3_file_may_have_its_weights_in_any_layout(conv, deconv, gemm):
    axes = {"Conv": tuple(conv), "ConvTranspose": tuple(deconv), "Gemm": tuple(gemm)}
    report = compare_weights(parse_dlc(dlc_writer.v3(MODEL, axes=axes), "v3"), MODEL)
    layouts = {match.node: match.layout for match in report.layers}
    assert layouts["pose_fc0"] == "".join("OI"[axis] for axis in gemm)
    assert layouts["block0_conv1"] == "".join("OIHW"[axis] for axis in conv)
    assert layouts["block0_conv2"] == "".join("IOHW"[axis] for axis in deconv)


def test_layers_are_found_by_content_where_the_names_are_others():
    dlc = parse_dlc(dlc_writer.v3(MODEL, name=lambda name: f"layer_of_{name}"), "v3")
    report = compare_weights(dlc, MODEL)
    assert all(match.layer == f"layer_of_{match.node}" for match in report.layers)
    assert len(report.layers) == sum(bool(node.weights) for node in dlc.nodes)


def test_an_unnamed_node_is_found_by_its_output():
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    for node in model.graph.node:
        node.name = ""
    assert compare_weights(parse_dlc(WRITTEN["v4 inline"], "v4"), model).layers[0].node == "pose_fc0"


def test_a_gemm_may_be_scaled_and_untransposed():
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    weights = constants(model)
    gemm = model.graph.node[0]
    del gemm.attribute[:]
    gemm.attribute.extend([onnx.helper.make_attribute("alpha", 0.5), onnx.helper.make_attribute("beta", 2.0)])
    name = "pose_fc0.weight"
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(onnx.numpy_helper.from_array(2 * weights[name].T, name))
    model = with_constant(model, "pose_fc0.bias", weights["pose_fc0.bias"] / 2)
    assert compare_weights(parse_dlc(WRITTEN["v4 inline"], "v4"), model).layers[0].node == "pose_fc0"


def test_the_model_may_be_a_path(tmp_path):
    dlc = parse_dlc(WRITTEN["v3"], "v3")
    onnx.save(MODEL, tmp_path / "a.onnx")
    assert compare_weights(dlc, tmp_path / "a.onnx") == compare_weights(dlc, MODEL)
    assert check_io(dlc, tmp_path / "a.onnx") == check_io(dlc, MODEL)
    with pytest.raises(InputError, match=r"missing\.onnx: no such file"):
        check_io(dlc, tmp_path / "missing.onnx")


def test_a_constant_outside_of_layers_is_reported():
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(3, np.float32), "extra"))
    assert compare_weights(parse_dlc(WRITTEN["v3"], "v3"), model).unchecked == ("extra",)


# --- differences --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITTEN)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_one_changed_bit_of_one_weight_is_found(kind, data):
    weights = {name: array for name, array in constants(MODEL).items() if name.endswith((".weight", ".bias"))}
    name = data.draw(st.sampled_from(sorted(weights)))
    changed = weights[name].copy()
    index = data.draw(st.integers(0, changed.size - 1))
    changed.reshape(-1).view(np.uint32)[index] ^= 1 << data.draw(st.integers(0, 31))
    with pytest.raises(
        ParityError, match=rf"^a\.dlc: \w+ {name.rpartition('.')[0]}: .*differs in 1 of {changed.size} "
    ):
        compare_weights(parse_dlc(WRITTEN[kind], "a.dlc"), with_constant(MODEL, name, changed))


def test_a_real_file_of_other_weights_is_found_out(real):
    path, model = real("deconv")
    name = "block1_conv2.weight"
    weight = constants(model)[name]
    changed = with_constant(model, name, np.nextafter(weight, np.float32(9)))
    with pytest.raises(ParityError, match=rf"ConvTranspose block1_conv2: weight \(HWIO\): differs in {weight.size} of"):
        compare_weights(read_dlc(path), changed)


def test_float16_is_compared_after_rounding_to_it(real):
    path, _ = real("float16")
    original = avatar_like(norms=True)  # the same weights, but for rounding
    for name, array in constants(avatar_like(**NETWORKS["float16"])).items():
        if array.dtype == np.float16:
            original = with_constant(original, name, array.astype(np.float32) * np.float32(1 + 1e-5))
    assert compare_weights(read_dlc(path), original).unchecked == ()
    name = "head_seg.weight"
    weight = constants(original)[name]
    with pytest.raises(ParityError, match="head_seg: weight"):
        compare_weights(read_dlc(path), with_constant(original, name, weight * np.float32(1.01)))


@pytest.mark.parametrize("kind", ["scale", "shift", "mean", "var"])
def test_a_changed_norm_is_found(kind):
    name = f"block0_norm1.{kind}"
    changed = with_constant(MODEL, name, constants(MODEL)[name] * np.float32(1.0001))
    with pytest.raises(ParityError, match=r"BatchNormalization block0_norm1: (scale|shift): differs by up to"):
        compare_weights(parse_dlc(WRITTEN["v3"], "v3"), changed)


def test_swapped_layers_are_found():
    model = onnx.ModelProto()
    model.CopyFrom(avatar_like(widths=(8, 8, 8)))
    dlc = parse_dlc(dlc_writer.v4(model, "inline"), "v4")
    first, second = (next(n for n in model.graph.node if n.name == f"block{k}_conv1") for k in (0, 1))
    first.input[1], second.input[1] = second.input[1], first.input[1]
    with pytest.raises(ParityError, match="Conv block0_conv1: weight"):
        compare_weights(dlc, model)


def test_a_missing_layer_is_found():
    dlc = parse_dlc(dlc_writer.v3(avatar_like(widths=(12, 8), norms=True)), "v3")  # one block less, else the same
    with pytest.raises(ParityError, match="BatchNormalization block1_norm1: none of its 0 layers of that kind has"):
        compare_weights(dlc, MODEL)


def test_a_layer_too_many_is_found():
    smaller = avatar_like(widths=(12, 8), norms=True)
    for head in ("delta_uv", "lf_rgb", "seg"):
        for kind in ("weight", "bias"):
            name = f"head_{head}.{kind}"
            tensor = next(tensor for tensor in smaller.graph.initializer if tensor.name == name)
            tensor.CopyFrom(next(tensor for tensor in MODEL.graph.initializer if tensor.name == name))
    with pytest.raises(ParityError, match="has 5 layers more than the ONNX model: block1_norm1, block1_conv1,"):
        compare_weights(parse_dlc(WRITTEN["v3"], "v3"), smaller)


def test_a_v3_difference_names_the_layout_that_has_the_shape():
    axes = {**dlc_writer.HWIO, "Gemm": (1, 0)}
    weight = constants(MODEL)["pose_fc0.weight"]
    changed = with_constant(MODEL, "pose_fc0.weight", weight + np.float32(1))
    with pytest.raises(ParityError, match=rf"Gemm pose_fc0: weight \(IO\): differs in {weight.size} .* by up to 1$"):
        compare_weights(parse_dlc(dlc_writer.v3(MODEL, axes=axes), "v3"), changed)


def test_a_quantized_file_cannot_be_compared():
    weights, nodes = dlc_writer.Writer(), dlc_writer.Writer()
    array = np.zeros((16, 136), np.uint8)
    tensor = weights.table(
        {0: "weights", 1: dlc_writer.ints(array.shape), 2: weights.table({0: dlc_writer.uint8(6), 1: array})}
    )
    layer = nodes.table({1: "pose_fc0", 2: "FullyConnected", 3: [], 4: ["pose_fc0"], 5: []})
    members = {
        "model": dlc_writer.header(3) + nodes.finish(nodes.table({1: [layer]}), b"NETD"),
        "model.params": dlc_writer.header(3)
        + weights.finish(weights.table({0: [weights.table({0: "pose_fc0", 1: [tensor]})]}), b"NETP"),
    }
    with pytest.raises(ParityError, match="pose_fc0: expected float32 or float16 weights, found uint8"):
        compare_weights(parse_dlc(dlc_writer.pack(members), "q"), MODEL)


def test_a_computed_or_external_weight_cannot_be_compared():
    dlc = parse_dlc(WRITTEN["v3"], "v3")
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    model.graph.node[0].input[1] = "somewhere"
    with pytest.raises(InputError, match="pose_fc0: its input somewhere is computed"):
        compare_weights(dlc, model)
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(InputError, match="stands in another file"):
        compare_weights(dlc, model)


def renamed_output(model):
    model.graph.output[0].name = "other"


def resized_output(model):
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 17


def retyped_input(model):
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


def missing_output(model):
    del model.graph.output[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed_output, "outputs: expected other, lf_rgb, seg, found delta_uv, lf_rgb, seg"),
        (resized_output, "delta_uv: expected shape"),
        (retyped_input, "pose: expected float16, found float32"),
        (missing_output, "outputs: expected delta_uv, lf_rgb, found"),
    ],
)
def test_another_contract_is_found(change, message):
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    change(model)
    with pytest.raises(ParityError, match=message):
        check_io(parse_dlc(WRITTEN["v4 inline"], "v4"), model)
