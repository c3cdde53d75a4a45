"""One fault at a time, planted in one rung of the ladder: the gate breaks, and the layers name it.

The truth is right and the rung is wrong: its own weights, its own warp, its own reading of the outputs.
"""

import importlib.util
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bilayer.benchmarks.parity.ladder import FOLDED, climb
from bilayer.benchmarks.parity.layer_errors import compare_layers
from bilayer.benchmarks.parity.rungs.device import open_device, write_device_inputs
from bilayer.benchmarks.parity.rungs.engines import bfloat16, vulkan
from bilayer.benchmarks.parity.rungs.htp import simulator
from bilayer.benchmarks.parity.rungs.litert import litert
from bilayer.benchmarks.parity.rungs.rung import EmulatedBfloat16, EmulatedRung, Float64, NotRun, OnnxRung
from bilayer.benchmarks.parity.rungs.trained import ExactTrained, make_trained
from bilayer.benchmarks.parity.static_checks import check_dlc
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.errors import ParityError
from bilayer.runtime.frame import NetworkOutputs
from tests.benchmarks.avatars import copied, export_tiny, rewritten, source_of, subject_of, with_constants

SEE_ALL = (
    "trained",
    "folded",
    "onnx",
    "litert",
    "litert-fp16-weights",
    "fp16-hybrid",
    "fp16-half4",
    "fp16-sequential",
    "bf16-storage",
    "htp-fp16",
    "device",
)
SEE_OUTPUTS = ("vulkan-fp16-hybrid", "vulkan-fp16", "openvino-bf16")  # engines that rearrange what is between
RUNGS = SEE_ALL + SEE_OUTPUTS


def swap_in_arrays(arrays):
    for name in ("head.weight", "head.bias"):
        arrays[name][[2, 4]] = arrays[name][[4, 2]]


def swap_in_model(model, parameters):
    head = model.inference_generator.gen_inf.heads[1][0]
    for tensor in (head.weight, head.bias):
        tensor.data[[0, 2]] = tensor.data[[2, 0]]


def drop_in_arrays(arrays):
    arrays["block0_conv2.bias"][:] = 0


def drop_in_model(model, parameters):
    model.inference_generator.gen_inf.blocks[0].block["1"].bias.data[:] = 0


def move_in_arrays(arrays):
    arrays["head.weight"][0, 0, 1, 1] += 1e-2


def move_in_model(model, parameters):
    model.inference_generator.gen_inf.heads[0][0].weight.data[0, 0, 1, 1] += 1e-2


@dataclass(frozen=True)
class Fault:
    arrays: Any  # changes the ONNX's
    model: Any  # changes the trained model's
    layer: str  # that is named
    words: str  # that are said of it


FAULTS = {
    "a swapped channel": Fault(swap_in_arrays, swap_in_model, "head", "swapped channels: 2 holds 4, 4 holds 2"),
    "a dropped bias": Fault(drop_in_arrays, drop_in_model, "block0_conv2", "bias: "),
    "a weight off by 1e-2": Fault(move_in_arrays, move_in_model, "head", "[0, 0, 1, 1], of channel 0 of 6"),
}
# One weight costs less than FP16 arithmetic's rounding does: only the layers show it, which these rungs hide
BELOW_ROUNDING = {("a weight off by 1e-2", "vulkan-fp16"), ("a weight off by 1e-2", "openvino-bf16")}


class Once:
    """A rung that computes its one pose once."""

    def __init__(self, rung):
        self._rung = rung
        self.layers = cache(rung.layers)
        self._result = cache(lambda index: rung.results([index])[0])

    def __getattr__(self, name):
        return getattr(self._rung, name)

    def results(self, indices):
        return [self._result(index) for index in indices]


@pytest.fixture(scope="module")
def made(case_a_folder):
    """Of the golden case: its folder, its bundle, the trained model, the truth."""
    folder, bundle = case_a_folder, read_bundle(case_a_folder / "avatar")
    trained = make_trained(subject_of(bundle, frames=1), source_of(folder))
    return SimpleNamespace(folder=folder, bundle=bundle, trained=trained, truth=Once(ExactTrained.of(trained)))


@pytest.fixture(scope="module")
def faulty(made, tmp_path_factory):
    """The bundle with each fault in its ONNX."""
    place = tmp_path_factory.mktemp("faulty")
    return {
        name: with_constants(copied(made.bundle, place / str(i)), fault.arrays)
        for i, (name, fault) in enumerate(FAULTS.items())
    }


@pytest.fixture(scope="module")
def right(made, tmp_path_factory):
    """A function: the name of a rung -> the rung of the right bundle, which computes once for all tests."""
    subject = made.trained.subject

    @cache
    def rung(name):
        known = {"trained": made.trained, "folded": Float64(subject, FOLDED, "folded")}.get(name)
        return Once(known or rung_of(name, subject, tmp_path_factory.mktemp("right") / "pulled"))

    return rung


def rung_of(name, subject, folder):
    """The rung of a bundle; `folder` is for a phone's outputs."""
    if name == "device":
        onnx_rung = OnnxRung(subject)
        write_raw(folder, onnx_rung.layers(0))
        truth = {tensor: onnx_rung.layers(0)[tensor] for tensor in subject.own.output_tensors}
        rung = open_device(subject, folder, "auto", "fp16-hybrid", truth)
        assert rung.layout == "nhwc"
        return rung
    made = {
        "onnx": lambda: OnnxRung(subject),
        "litert": lambda: litert(subject, "float32"),
        "litert-fp16-weights": lambda: litert(subject, "float16"),
        "htp-fp16": lambda: simulator(subject),
        "vulkan-fp16-hybrid": lambda: vulkan(subject, arithmetic=False),
        "vulkan-fp16": lambda: vulkan(subject, arithmetic=True),
        "bf16-storage": lambda: EmulatedBfloat16(subject),
        "openvino-bf16": lambda: bfloat16(subject),
    }.get(name, lambda: EmulatedRung(subject, name.removeprefix("fp16-")))()
    if isinstance(made, NotRun):
        pytest.skip(made.reason)
    return made


def write_raw(folder, tensors):
    """As snpe-net-run does: NHWC."""
    (folder / "Result_0").mkdir(parents=True)
    for name, tensor in tensors.items():
        turned = tensor.transpose(0, 2, 3, 1) if tensor.ndim == 4 else tensor
        (folder / "Result_0" / f"{name}.raw").write_bytes(np.ascontiguousarray(turned, "<f4").tobytes())


def planted(made, faulty, name, rung, folder):
    """The rung with the fault in it."""
    if rung == "trained":
        model, parameters = deepcopy(made.trained.model), made.trained.parameters.map(lambda tensor: tensor.clone())
        FAULTS[name].model(model, parameters)
        return replace(made.trained, model=model, parameters=parameters)
    subject = subject_of(faulty[name], frames=1)
    return Float64(subject, FOLDED, "folded") if rung == "folded" else rung_of(rung, subject, folder)


def ladder_of(made, rung, subject=None):
    """The truth, the emulations that a measured rung is held against, and the rung, with its layers."""
    subject = subject or made.trained.subject
    emulations = [EmulatedRung(subject, "sequential"), EmulatedBfloat16(subject)]
    above = [other for other in emulations if other.name != rung.name and other.kind == rung.kind and not rung.emulated]
    ladder = climb(subject, [*above, rung], truth=made.truth)
    return replace(ladder, layers=compare_layers(subject.generator, made.truth, rung))


@pytest.mark.parametrize("rung", RUNGS)
def test_without_a_fault_none_is_named(made, right, rung):
    report = compare_layers(made.trained.subject.generator, made.truth, right(rung))
    assert report.fault is None
    assert len(report.layers) > 20 or rung in SEE_OUTPUTS


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_rung_breaks_the_gate_and_is_named(made, faulty, name, rung, tmp_path):
    ladder = ladder_of(made, planted(made, faulty, name, rung, tmp_path / "pulled"))
    named = ladder.layers.fault or ladder.layers.over
    if (name, rung) in BELOW_ROUNDING:
        assert named is None or named.layer == "layers"
        return
    assert ladder.verdict == "broken"
    fault = FAULTS[name]
    if rung in SEE_OUTPUTS:
        assert named.layer == "layers"
        assert "inputs are hidden" in named.suggestion or fault.words in named.suggestion
    else:
        assert (named.layer, fault.words in named.suggestion) == (fault.layer, True), named
    with pytest.raises(ParityError, match=f"at {named.layer}: "):
        ladder.require()


@pytest.mark.parametrize("rung", RUNGS)
def test_a_flipped_align_corners_breaks_the_gate_and_is_named(made, rung, tmp_path):
    if rung == "trained":
        model = deepcopy(made.trained.model)
        model.config = replace(model.config, align_corners=not model.config.align_corners)
        ladder = ladder_of(made, replace(made.trained, model=model))
    elif rung == "folded":
        subject = replace(made.trained.subject, align_corners=not made.trained.subject.align_corners)
        ladder = ladder_of(made, Float64(subject, FOLDED, "folded"))
    else:
        bundle = rewritten(copied(made.bundle, tmp_path / "avatar"), align_corners=True)
        subject = replace(made.trained.subject, bundle=bundle)
        ladder = ladder_of(made, rung_of(rung, subject, tmp_path / "pulled"), subject)
        assert any("avatar.json says align_corners True" in line for line in ladder.failures)
    step = ladder.steps[-1]
    assert (ladder.verdict, ladder.layers.fault) == ("broken", None)  # its layers are right, its picture is not
    assert step.ruling.verdict in (("broken",) if step.kind in ("fp32", "fp16-hybrid") else ("broken", "warned"))
    assert "frame" in step.ruling.reasons[-1]


@dataclass(frozen=True)
class Misread:
    """A rung whose outputs are NHWC and are taken for NCHW."""

    rung: Any

    def __getattr__(self, name):
        return getattr(self.rung, name)

    def layers(self, index):
        layers = dict(self.rung.layers(index))
        for name in self.rung.subject.own.output_tensors:
            layers[name] = np.ascontiguousarray(layers[name].transpose(0, 2, 3, 1)).reshape(layers[name].shape)
        return layers

    def results(self, indices):
        return [NetworkOutputs.read(self.rung.subject.own.outputs, self.layers(index)) for index in indices]


@pytest.mark.parametrize("rung", RUNGS)
def test_misread_outputs_break_the_gate_and_are_named(made, right, rung, tmp_path):
    wrong = Misread(right(rung))
    if rung == "device":
        wrong = replace(rung_of(rung, made.trained.subject, tmp_path / "pulled"), layout="nchw")
    ladder = ladder_of(made, wrong)
    assert ladder.steps[-1].ruling.verdict == "broken"
    assert "those of NHWC, read as NCHW" in ladder.layers.fault.suggestion
    assert ladder.layers.fault.layer == "layers" or rung == "device"  # where every layer comes in NHWC


@pytest.fixture(scope="module")
def converted(once_for_all):
    """A bundle with a .dlc."""
    if importlib.util.find_spec("onnxruntime_qnn") is None:
        pytest.skip("the extra [qairt] is not installed")
    folder = once_for_all("converted", lambda place: export_tiny(place, target="qairt", verify=False))
    return read_bundle(folder / "avatar")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_file_of_the_dlc_is_caught_and_named(converted, tmp_path, name):
    assert check_dlc(subject_of(converted)).verdict == "passed"
    bundle = copied(converted, tmp_path / "avatar")
    model = onnx.load(bundle.path(bundle.contract.files.onnx))
    arrays = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in model.graph.initializer}
    before = {key: array.copy() for key, array in arrays.items()}
    FAULTS[name].arrays(arrays)
    path = bundle.path(bundle.contract.files.dlc)
    data = path.read_bytes()
    for key, array in arrays.items():
        if not np.array_equal(array, before[key]):
            old, new = (in_file(values) for values in (before[key], array))
            assert data.count(old) == 1, key
            data = data.replace(old, new)
    path.write_bytes(data)
    found = check_dlc(subject_of(rewritten(bundle)))
    assert found.verdict == "broken"
    assert FAULTS[name].layer in found.text


def in_file(values):
    """As QAIRT stores them: convolutions are HWIO."""
    return np.ascontiguousarray(values.transpose(2, 3, 1, 0) if values.ndim == 4 else values).tobytes()


def test_a_phone_is_asked_for_every_layer(made, tmp_path):
    subject = made.trained.subject
    first = write_device_inputs(subject, tmp_path / "inputs", layers=True).read_text().splitlines()[0]
    assert first.split()[0] == f"#{subject.own.layers[0].name}"
    assert len(first.split()) == len(subject.own.layers)
