import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilayer.export.convert.run import convert_onnx
from bilayer.export.dlc.check import check_io, compare_weights
from bilayer.export.dlc.read import as_text, describe, parse_dlc, read_dlc
from bilayer.runtime.errors import DlcError, InputError, ParityError
from bilayer.runtime.files.reading import FileKind
from tests.export import dlc_writer
from tests.export.networks import avatar_like, constants, shapes, with_constant

NETRON = "9.3.3"
NETWORKS = {
    "deconv": {"deconv": True},
    "nearest": {"deconv": False},
    "norms": {"norms": True},
    "one_head": {"heads": False},
    "float16": {"dtype": np.float16, "norms": True},
}
MODEL = avatar_like(norms=True)
WRITTEN = {
    "v3": dlc_writer.v3(MODEL),
    "v4 inline": dlc_writer.v4(MODEL, "inline"),
    "v4 NR64": dlc_writer.v4(MODEL, "NR64"),
}


def reads_or_raises(data):
    """The rule for every input: it reads, or it raises a DlcError of one line."""
    try:
        dlc = parse_dlc(data, "some.dlc")
    except DlcError as error:
        message = str(error)
    else:
        json.dumps(describe(dlc))
        as_text(dlc).encode()
        return dlc
    assert message.startswith("some.dlc: ")
    assert message.isprintable()
    return None


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Path of a .dlc that Qualcomm's package made, and its model, by the network's name."""
    pytest.importorskip("onnxruntime_qnn", reason="the extra [qairt] is not installed")
    folder = tmp_path_factory.mktemp("real")
    made = {}

    def make(name):
        if name not in made:
            model = avatar_like(**NETWORKS[name])
            onnx.save(model, folder / f"{name}.onnx")
            convert_onnx(folder / f"{name}.onnx", folder / f"{name}.dlc")
            made[name] = folder / f"{name}.dlc", model
        return made[name]

    return make


# --- real files of QAIRT 2.51 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_a_real_file_has_the_models_weights_to_the_bit(real, name):
    path, model = real(name)
    dlc = read_dlc(path)
    report = compare_weights(dlc, model)
    expected = [node.name for node in model.graph.node if node.op_type in dlc_writer.HWIO]
    expected += [node.name for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert sorted(match.node for match in report.layers) == sorted(expected)
    assert report.unchecked == ()
    for node in model.graph.node:
        if node.op_type in dlc_writer.HWIO:
            weight, bias = dlc_writer.layer_weights(node, constants(model), dlc_writer.HWIO)
            np.testing.assert_array_equal(dlc.weights[node.input[1]], weight)
            np.testing.assert_array_equal(dlc.weights[node.input[2]], bias)
            assert dlc.weights[node.input[1]].dtype == weight.dtype


@pytest.mark.parametrize("name", NETWORKS)
def test_a_real_file_keeps_the_inputs_and_outputs(real, name):
    path, model = real(name)
    ends = check_io(read_dlc(path), model)
    dtype = np.dtype(NETWORKS[name].get("dtype", np.float32)).name
    assert [end.name for end in ends] == ["pose", *(value.name for value in model.graph.output)]
    assert all(end.dlc_shape == shapes(model)[end.name] for end in ends)
    assert [end.layout for end in ends] == ["", *["NCHW"] * len(model.graph.output)]
    assert {end.dtype for end in ends} == {dtype}


def test_a_real_file_says_what_made_it_and_who_reads_it(real):
    path, _ = real("deconv")
    dlc = read_dlc(path)
    assert (dlc.version, dlc.minor) == (4, 1)
    assert dlc.converter_version.startswith("2.")
    assert dlc.converter == "qnn-net-run"
    assert "not SNPE 1.x" in dlc.readable_by
    assert dlc.metadata["metadata2.3.0.header.artifact_type"] == "DLC_METADATA"


def test_a_real_file_has_every_layer(real):
    path, model = real("nearest")
    types = [node.type for node in read_dlc(path).nodes]
    counts = {kind: sum(node.op_type == kind for node in model.graph.node) for kind in ("Conv", "Upsample", "Gemm")}
    assert types.count("Conv2d") == counts["Conv"]
    assert types.count("ResizeNearestNeighbor") == counts["Upsample"]
    assert types.count("FullyConnected") == counts["Gemm"]


def test_a_description_is_json_and_a_table(real):
    path, _ = real("deconv")
    dlc = read_dlc(path)
    description = json.loads(json.dumps(describe(dlc)))
    assert description["outputs"][0] == {"name": "delta_uv", "shape": [1, 2, 16, 16], "dtype": "float32"}
    assert [layer["name"] for layer in description["layers"]] == [node.name for node in dlc.nodes]
    assert description["parameters"] == sum(np.prod(w["shape"]) for x in description["layers"] for w in x["weights"])
    text = as_text(dlc)
    for word in (str(path), "DLC v4.1", "FullyConnected", "TransposeConv2d", "1x2x16x16", "pose"):
        assert word in text


# --- the same network through Netron ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def netron(request):
    """Netron's own reader, without a window: its model as a dictionary."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Netron's reader needs node")
    folder = Path(request.config.cache.mkdir(f"netron-{NETRON}"))
    package = folder / "netron"
    if not (package / "package.json").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
        done = subprocess.run([*command, "--target", folder, f"netron=={NETRON}"], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"netron {NETRON} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
        (package / "package.json").write_text('{"type": "module"}')

    def read(path):
        command = [node, Path(__file__).with_name("netron_open.mjs"), package, path]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return read


@pytest.mark.parametrize("name", ["deconv", "norms", "float16"])
def test_netron_sees_the_same_network_in_a_real_file(netron, real, name):
    path, _ = real(name)
    dlc, seen = read_dlc(path), netron(path)
    assert seen["format"] == "DLC"
    assert [(node["name"], node["type"]) for node in seen["nodes"]] == [(node.name, node.type) for node in dlc.nodes]
    for ours, theirs in zip(dlc.nodes, seen["nodes"], strict=True):
        assert sorted(t["name"] for t in theirs["inputs"]) == sorted([*ours.inputs, *ours.weights])
        for tensor in theirs["inputs"] + theirs["outputs"]:
            mine = dlc.tensors[tensor["name"]]
            assert (tensor["shape"], tensor["dtype"]) == (list(mine.shape), mine.dtype)


@pytest.mark.parametrize("kind", WRITTEN)
def test_netron_sees_the_same_network_in_a_written_file(netron, tmp_path, kind):
    (tmp_path / "written.dlc").write_bytes(WRITTEN[kind])
    dlc, seen = read_dlc(tmp_path / "written.dlc"), netron(tmp_path / "written.dlc")
    assert [(node["name"], node["type"]) for node in seen["nodes"]] == [(node.name, node.type) for node in dlc.nodes]
    for ours, theirs in zip(dlc.nodes, seen["nodes"], strict=True):
        assert [tuple(t["shape"]) for t in theirs["outputs"]] == [dlc.tensors[name].shape for name in ours.outputs]
        for side, names in (("outputs", ours.outputs), ("inputs", (*ours.inputs, *ours.weights))):
            assert [tuple(t["shape"]) for t in theirs[side]] == [dlc.tensors[name].shape for name in names]


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


# --- hostile files ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(real):
    """A file of every kind that there is here."""
    try:
        return {**WRITTEN, "v4 real": real("norms")[0].read_bytes()}
    except pytest.skip.Exception:
        return WRITTEN


KINDS = [*WRITTEN, "v4 real"]


def pick(files, kind):
    if kind not in files:
        pytest.skip("the extra [qairt] is not installed")
    return files[kind]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_truncated_file_reads_or_raises(files, kind, data):
    whole = pick(files, kind)
    assert reads_or_raises(whole[: data.draw(st.integers(0, len(whole) - 1))]) is None


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_file_with_flipped_bits_reads_or_raises(files, kind, data):
    damaged = bytearray(pick(files, kind))
    regions = [*member_ranges(damaged).values(), range(len(damaged))]
    for _ in range(data.draw(st.integers(1, 6))):
        region = data.draw(st.sampled_from(regions))
        damaged[data.draw(st.integers(region.start, region.stop - 1))] ^= 1 << data.draw(st.integers(0, 7))
    reads_or_raises(clear_checksums(damaged))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_file_with_wild_offsets_reads_or_raises(files, kind, data):
    damaged = bytearray(pick(files, kind))
    regions = [r for name, r in member_ranges(damaged).items() if name in ("model", "model.params") and len(r) > 8]
    for _ in range(data.draw(st.integers(1, 4))):
        region = data.draw(st.sampled_from(regions))
        position = region.start + data.draw(st.integers(0, len(region) // 4 - 1)) * 4
        number = data.draw(st.sampled_from([0, 1, 4, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
        struct.pack_into("<I", damaged, position, number)
    reads_or_raises(clear_checksums(damaged))


@given(st.binary(max_size=300), st.booleans())
def test_noise_reads_or_raises(noise, as_zip):
    assert reads_or_raises(b"PK\x03\x04" + noise if as_zip else noise) is None


@given(st.binary(max_size=300), st.binary(max_size=100), st.sampled_from([3, 4]))
def test_members_of_noise_read_or_raise(model, params, version):
    header = dlc_writer.header(version)
    members = {"model": header + b"\4\0\0\0NETD" + model, "model.params": header + b"\4\0\0\0NETP" + params}
    reads_or_raises(dlc_writer.pack(members))


def member_ranges(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        ranges = {}
        for entry in archive.infolist():
            names, extras = struct.unpack_from("<HH", data, entry.header_offset + 26)
            start = entry.header_offset + 30 + names + extras
            ranges[entry.filename] = range(start, start + entry.file_size)
        return ranges


def clear_checksums(data):
    """Zero CRCs, as Qualcomm's writers leave them, so that damage gets past the zip."""
    position = bytes(data).rfind(b"PK\x01\x02")
    while position >= 0:
        data[position + 16 : position + 20] = bytes(4)
        position = bytes(data[:position]).rfind(b"PK\x01\x02")
    return bytes(data)


def test_a_table_that_holds_itself_costs_bounded_memory():
    # a vector of 60,000 offsets, all to one string of 4,000 bytes, named by 1,000 nodes: 240 GB if it were believed
    graph = dlc_writer.Writer()
    builder = graph.builder
    text = builder.CreateString("x" * 4000)
    builder.StartVector(4, 60_000, 4)
    for _ in range(60_000):
        builder.PrependUOffsetTRelative(text)
    names = dlc_writer.Offset(builder.EndVector())
    nodes = [graph.table({1: "a", 2: "Add", 3: names, 4: names}) for _ in range(1000)]
    members = {"model": dlc_writer.header(3) + graph.finish(graph.table({1: nodes}), b"NETD")}
    with pytest.raises(DlcError, match="asks for more than 128 MiB"):
        parse_dlc(dlc_writer.pack(members), "bomb")


def v3_with(**members):
    return dlc_writer.pack({**dlc_writer.v3_members(MODEL), **{k.replace("_", "."): v for k, v in members.items()}})


def v4_with(*, drop=(), **members):
    with zipfile.ZipFile(io.BytesIO(WRITTEN["v4 inline"])) as archive:
        kept = {name: archive.read(name) for name in archive.namelist() if name not in drop}
    return dlc_writer.pack({**kept, **members})


def compressed():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model", bytes(1000))
    return file.getvalue()


def twice():
    data = dlc_writer.pack({"model": b"a", "modem": b"b"})
    return data.replace(b"modem", b"model")


def one_tensor(shape, size):
    weights = dlc_writer.Writer()
    data = weights.table({0: dlc_writer.uint8(9), 2: np.zeros(size, np.float32)})
    tensor = weights.table({0: "weights", 1: dlc_writer.ints(shape), 2: data})
    params = weights.finish(weights.table({0: [weights.table({0: "pose_fc0", 1: [tensor]})]}), b"NETP")
    return v3_with(model_params=dlc_writer.header(3) + params)


def other_id(version):
    return dlc_writer.header(version) + b"\4\0\0\0NETX" + bytes(8)


BAD = {
    "empty": (b"", "not a .dlc file: expected a zip"),
    "text": (b"converter: ok\n", "not a .dlc file"),
    "no members": (dlc_writer.pack({}), "expected a member named model, found none"),
    "another zip": (dlc_writer.pack({"a.txt": "x", "b.txt": "y"}), "expected a member named model, found a.txt, b.txt"),
    "compressed": (compressed(), "member model: expected it stored, found it compressed"),
    "twice": (twice(), "two members named model"),
    "many members": (dlc_writer.pack({str(i): "" for i in range(100)}), "expected at most 64 members, found 100"),
    "control characters": (dlc_writer.pack({"mo\x1bdel": "x"}), "name is not printable"),
    "checksum": (WRITTEN["v3"].replace(b"NETP", b"NETQ"), "member model.params: damaged: its checksum differs"),
    "no header": (v3_with(model=b"NETD"), "member model: expected it to start with d5 0a"),
    "v2": (v3_with(model=dlc_writer.header(2) + bytes(20)), "expected DLC version 3 or 4, found 2"),
    "v5": (v3_with(model=dlc_writer.header(5) + bytes(20)), "expected DLC version 3 or 4, found 5"),
    "mixed": (v3_with(model_params=dlc_writer.header(4) + bytes(20)), "model has version 3, model.params 4"),
    "v3 other id": (
        v3_with(model=dlc_writer.header(3) + b"\4\0\0\0NETX" + bytes(8)),
        "expected id NETD, found b'NETX'",
    ),
    "v4 other id": (
        v4_with(model=dlc_writer.header(4) + b"\4\0\0\0NETX" + bytes(8)),
        "expected id NETD, found b'NETX'",
    ),
    "v4 no graph": (
        v4_with(model=dlc_writer.header(4) + dlc_writer.Writer().finish(dlc_writer.Offset(0), b"NETD")),
        "damaged|expected one graph",
    ),
    "v4 no weights": (v4_with(drop=["model.params"]), "tensor .*: its data is missing"),
    "no root": (v3_with(model=dlc_writer.header(3)), "expected id NETD|damaged"),
    "shape and data differ": (one_tensor([4, 4], 15), "expected 64 bytes for float32 .4, 4., found 60"),
    "negative size": (one_tensor([-4, 4], 16), "expected up to 16 sizes from 0 up"),
    "no numbers": (one_tensor([0, 2**31 - 1, 2**31 - 1, 2**31 - 1], 0), "tensor pose_fc0.weights: has no data"),
    "huge": (one_tensor([2**31 - 1] * 16, 4), "expected .* bytes"),
    "many dimensions": (one_tensor([1] * 17, 1), "expected up to 16 sizes"),
    "metadata not JSON": (v3_with(**{"dlc_metadata2_1": "{"}), "member dlc.metadata2.1: expected JSON"),
    "metadata deep": (v3_with(**{"dlc_metadata2_1": "[" * 100_000}), "expected JSON that is not nested deeply"),
    "metadata nested names": (v3_with(**{"dlc_metadata2_1": '{"' + "k" * 2000 + '": {"a": 1}}'}), "nested deeply"),
    "metadata large": (v3_with(**{"dlc_metadata": "a" * (2 << 20)}), "expected at most 1048576 bytes"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_one_line(case):
    data, message = BAD[case]
    assert reads_or_raises(data) is None
    with pytest.raises(DlcError, match=message):
        parse_dlc(data, "some.dlc")


def test_metadata_with_lone_surrogates_can_be_printed():
    dlc = reads_or_raises(v3_with(**{"dlc_metadata2_1": '{"a": "\\ud800", "n": NaN, "l": [1, {"x": null}]}'}))
    assert dlc.metadata["metadata2.1.a"] == "\ufffd"
    assert dlc.metadata["metadata2.1.l.1.x"] == "None"


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device"])
def test_what_is_not_a_file_is_refused(tmp_path, kind):
    path = tmp_path / "a.dlc"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    kinds = "no such file|is a folder|is a device, pipe or socket"
    with pytest.raises(DlcError, match=rf"^{path}: ({kinds}); name a .dlc"):
        read_dlc(path)


def test_a_file_over_the_limit_is_not_read(tmp_path):
    (tmp_path / "a.dlc").touch()
    os.truncate(tmp_path / "a.dlc", FileKind.DLC.most + 1)  # takes no room on the disk
    with pytest.raises(DlcError, match="expected at most"):
        read_dlc(tmp_path / "a.dlc")


def test_layers_that_name_the_same_weights_again_and_again_are_refused():
    """v3: layers of one name share its weights, so that a few bytes would list them millions of times."""
    writer = dlc_writer.Writer()
    node = writer.table({1: "n", 2: "Convolutional"})
    model = writer.finish(writer.table({1: [node] * 20_000}), b"NETD")
    writer = dlc_writer.Writer()
    data = writer.table({0: dlc_writer.uint8(9), 2: np.zeros(1, np.float32)})
    weights = [writer.table({0: f"w{i}", 1: dlc_writer.ints([1]), 2: data}) for i in range(2_000)]
    params = writer.finish(writer.table({0: [writer.table({0: "n", 1: weights})]}), b"NETP")
    members = {"model": dlc_writer.header(3) + model, "model.params": dlc_writer.header(3) + params}
    with pytest.raises(DlcError, match="more than"):
        parse_dlc(dlc_writer.pack(members), "a.dlc")
