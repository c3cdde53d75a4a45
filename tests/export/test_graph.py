"""The ONNX file: the dialect asked for, the numbers of the folded generator, the same bytes every time."""

import io
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import onnxsim
import pytest
import torch

from bilayer.export.network.emulate import emulate
from bilayer.export.network.evaluate import evaluate
from bilayer.export.network.fold import fold
from bilayer.export.network.lower import GraphOptions, lower
from bilayer.export.network.onnx_write import OPSETS, build_onnx
from bilayer.export.network.rewrite import fold_norms
from bilayer.export.verify import (
    TrainedNetwork,
    half_failure,
    hybrid_network,
    make_probes,
    onnx_network,
    verify,
    verify_half,
)
from bilayer.runtime.agreement import psnr
from bilayer.runtime.bundle import PoseInput
from bilayer.runtime.errors import InputError, ParityError
from bilayer.runtime.sampler.compositor import FrameCompositor
from tests.export.conftest import reference

POSE = (torch.rand(1, 136, generator=torch.Generator().manual_seed(1)) * 2 - 1).numpy()
GIVEN = PoseInput("pose", 136, 0)
UPSAMPLES = ("nearest", "deconv", "phase")


def session(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(model, pose=POSE):
    runner = session(model)
    return dict(zip([o.name for o in runner.get_outputs()], runner.run(None, {"pose": pose}), strict=True))


@pytest.fixture(scope="session")
def generators(case_a_avatar):
    model, avatar, _ = case_a_avatar
    kept = fold(model, avatar.parameters)
    folded = fold_norms(kept)[0]
    made = {upsample: lower(folded, GraphOptions(upsample)) for upsample in UPSAMPLES}
    made["norms kept"] = lower(kept, GraphOptions("nearest", skip_first=False, merged_head=False))
    made["three heads"] = lower(folded, GraphOptions("nearest", merged_head=False))
    return made


@pytest.mark.parametrize("variant", [*UPSAMPLES, "norms kept", "three heads"])
@pytest.mark.parametrize("opset", [8, 9, 10, 11, 13, 17, 21])
def test_every_opset_gives_the_generators_numbers(generators, variant, opset):
    generator = generators[variant]
    model = build_onnx(generator, opset=opset)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    expected = evaluate(generator, torch.from_numpy(POSE).double())
    for name, values in run(model).items():
        assert psnr(values, expected[name].numpy(), 2.0) > 100, name


def test_the_default_is_the_dialect_of_snpe_1_32(generators):
    model = build_onnx(generators["nearest"])
    assert (model.ir_version, model.opset_import[0].version) == (3, 8)
    operators = {node.op_type for node in model.graph.node}
    assert operators == {"Gemm", "LeakyRelu", "Reshape", "Conv", "Upsample", "Add", "Tanh"}
    initializers = {tensor.name for tensor in model.graph.initializer}
    assert [value.name for value in model.graph.input if value.name not in initializers] == ["pose"]
    assert initializers < {value.name for value in model.graph.input}
    assert all(node.name == node.output[0] for node in model.graph.node)
    upsample = next(node for node in model.graph.node if node.op_type == "Upsample")
    assert onnx.helper.get_attribute_value(upsample.attribute[1]) == [1.0, 1.0, 2.0, 2.0]


@pytest.mark.parametrize("opset", [7, 22, 0])
def test_other_opsets_are_refused(generators, opset):
    with pytest.raises(InputError, match=f"opset: expected {OPSETS[0]} to {OPSETS[-1]}, found {opset}"):
        build_onnx(generators["nearest"], opset=opset)


@pytest.mark.parametrize("opset", [8, 9])
@pytest.mark.parametrize("variant", [*UPSAMPLES, "three heads"])
def test_a_simplifier_finds_nothing_to_remove(generators, variant, opset):
    model = build_onnx(generators[variant], opset=opset)
    simplified, equivalent = onnxsim.simplify(model)
    assert equivalent
    assert len(simplified.graph.node) == len(model.graph.node)
    for name, values in run(simplified).items():
        np.testing.assert_allclose(values, run(model)[name], rtol=0, atol=1e-6)


def test_metadata_is_written_sorted(generators):
    model = build_onnx(generators["nearest"], {"z": "1", "a": "2"})
    assert [(entry.key, entry.value) for entry in model.metadata_props] == [("a", "2"), ("z", "1")]


def test_torchs_own_exporter_agrees(case_a_avatar, generators):
    """An independent way from the trained model to ONNX: traced by torch, predicted parameters as constants."""
    model, avatar, _ = case_a_avatar

    class Frame(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.pose, self.generator = model.keypoints_embedder, model.inference_generator

        def forward(self, pose):
            layers = self.generator(self.pose(pose), avatar.parameters)
            return layers.delta_uv, layers.lf_rgb, torch.sigmoid(layers.seg_logits)

    buffer = io.BytesIO()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter announces its end
        torch.onnx.export(
            Frame().eval(), (torch.from_numpy(POSE),), buffer, opset_version=17, dynamo=False, input_names=["pose"]
        )
    theirs = run(onnx.load_from_string(buffer.getvalue()))
    ours = run(build_onnx(generators["three heads"]))
    for actual, expected in zip(ours.values(), theirs.values(), strict=True):
        assert psnr(actual, expected, 2.0) > 100


def test_the_same_avatar_gives_the_same_bytes_whatever_the_process(tmp_path):
    code = """if True:
        import sys, torch
        torch.set_num_threads(2)
        from bilayer.export import build_onnx, fold, fold_norms, lower
        from bilayer.model import ModelConfig, random_model
        from tests.model.test_networks import TINY
        model = random_model(TINY, 1)
        generator = torch.Generator().manual_seed(2)
        embeddings = [torch.randn(1, c, 8, 8, generator=generator) for c in TINY.texture_channels[1:]]
        with torch.inference_mode():
            parameters = model.inference_generator.predict_parameters(embeddings)
        proto = build_onnx(lower(fold_norms(fold(model, parameters))[0]), {"b": "1", "a": "2"})
        sys.stdout.buffer.write(proto.SerializeToString(deterministic=True))
    """
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads},
            capture_output=True,
            check=True,
        ).stdout
        for seed, threads in (("0", "1"), ("7", "2"))
    ]
    assert len(outputs[0]) > 10_000
    assert outputs[0] == outputs[1]


# Verification


def test_verification_measures_every_result(case_a_avatar, generators):
    model, avatar, crop = case_a_avatar
    network = onnx_network(build_onnx(generators["deconv"]), GIVEN, generators["deconv"].outputs)
    probes = make_probes(model, avatar, crop.pose, count=3)
    found = verify(probes, [network.run(probe.pose) for probe in probes])
    assert found.verified
    assert found.poses == 3
    assert found.psnr_db.keys() == {"delta_uv", "lf_rgb", "seg"}
    assert min(found.psnr_db.values()) > 100


FAULTS = {
    "dropped bias": ("block2_conv1.bias", lambda array: array * 0),
    "swapped channels": ("head.weight", lambda array: array[[1, 0, 2, 3, 4, 5]]),
    "weights off by 1e-2": ("block3_skip.weight", lambda array: array + 1e-2),
    "NaN": ("pose_fc0.bias", lambda array: array * np.nan),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_verification_catches_planted_faults(case_a_avatar, generators, fault):
    model, avatar, crop = case_a_avatar
    proto = build_onnx(generators["nearest"])
    name, change = FAULTS[fault]
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    array = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(change(array).astype(np.float32), name))
    network = onnx_network(proto, GIVEN, generators["nearest"].outputs)
    probes = make_probes(model, avatar, crop.pose)
    with pytest.raises(ParityError, match="expected at least 100 dB"):
        verify(probes, [network.run(probe.pose) for probe in probes])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_overflow_of_one_pixel_in_fp16_fails_the_gate(case_a_avatar, generators, monkeypatch, value):
    model, avatar, crop = case_a_avatar

    def overflowing(generator, pose, arithmetic):
        layers = emulate(generator, pose, arithmetic)
        layers[generator.outputs.delta_uv.tensor][0, 0, 0, 0] = value
        return layers

    monkeypatch.setattr("bilayer.export.verify.emulate", overflowing)
    probes, texture = make_probes(model, avatar, crop.pose, count=1), avatar.texture[0].numpy()
    network = hybrid_network(generators["deconv"], GIVEN)
    found = verify_half(probes, network, FrameCompositor(texture, model.config.align_corners, engine="numpy"))
    assert (found.psnr_db["frame"] > 0, found.uv_pixels, found.not_finite) == (True, 64, 1)
    assert "64 px off" in half_failure(found)


def test_the_reference_is_the_trained_model(case_a_avatar):
    model, avatar, _ = case_a_avatar
    found = TrainedNetwork(model, avatar.parameters).run(POSE[0])
    expected = reference(model, avatar.parameters, torch.from_numpy(POSE))
    np.testing.assert_array_equal(found.lf_rgb, expected.lf_rgb[0].numpy())
