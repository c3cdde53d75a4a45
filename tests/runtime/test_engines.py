"""Which engine runs a network, and what is said where it cannot."""

import importlib.util

import pytest

from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.engines import load as engines
from bilayer.runtime.engines.load import choose_engine, installed, load_engine
from bilayer.runtime.errors import InputError, ToolMissingError


@pytest.fixture
def network(bundle_folder):
    bundle = read_bundle(bundle_folder)
    return bundle.path(bundle.contract.files.onnx), bundle.contract


@pytest.fixture
def without(monkeypatch):
    """Hides packages, as if they were not installed."""

    def hide(*packages):
        find = importlib.util.find_spec
        monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None if name in packages else find(name))

    return hide


def test_auto_is_the_quickest_installed(without, network):
    assert choose_engine() == ("openvino" if installed("openvino") else "onnxruntime")
    without("openvino")
    assert choose_engine() == "onnxruntime"
    assert load_engine(*network, "auto", threads=1).name == "onnxruntime"


def test_a_reduced_precision_picks_the_engine_that_has_it():
    assert [choose_engine(precision) for precision in ("bf16", "fp16")] == ["openvino", "ncnn"]


def test_precisions_of_others_are_refused(network):
    for name, precision, words in (
        ("openvino", "fp16", "computes in fp32 and bf16 only; --engine ncnn"),
        ("ncnn", "bf16", "computes in fp32 and fp16 only; --engine openvino has it"),
    ):
        pytest.importorskip(name)
        with pytest.raises(InputError, match=f"precision {precision}: engine {name} {words}"):
            load_engine(*network, name, precision)


def test_a_missing_engine_names_what_installs_it(without, network):
    without("openvino", "onnxruntime", "ncnn")
    with pytest.raises(ToolMissingError, match=r"engine openvino: not installed; pip install 'bilayer\[openvino\]'"):
        load_engine(*network, "openvino")
    with pytest.raises(ToolMissingError, match="engine onnxruntime: not installed; pip install onnxruntime"):
        load_engine(*network)
    for name in ("ncnn", "ncnn-vulkan"):
        with pytest.raises(ToolMissingError, match=rf"engine {name}: not installed; pip install 'bilayer\[ncnn\]'"):
            load_engine(*network, name)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"name": "tensorrt"},
            "engine: expected one of auto, onnxruntime, openvino, ncnn, ncnn-vulkan; found 'tensorrt'",
        ),
        ({"precision": "int4"}, "precision: expected one of fp32, bf16, fp16; found 'int4'"),
        ({"name": "onnxruntime", "precision": "bf16"}, "precision bf16: engine onnxruntime computes in fp32 only"),
        ({"name": "onnxruntime", "precision": "fp16"}, "fp32 only; --engine ncnn or --engine ncnn-vulkan has it"),
        ({"threads": 0}, "threads: expected 1 or more, found 0"),
        ({"providers": ["Moon"]}, "provider Moon"),
        ({"name": "onnxruntime", "providers": ["Moon"]}, "provider Moon: this ONNX Runtime has .*CPUExecutionProvider"),
    ],
)
def test_choices_that_cannot_be_had(network, arguments, words):
    with pytest.raises(InputError, match=words):
        load_engine(*network, **arguments)


def test_reduced_precision_runs_in_it_or_says_that_it_cannot(network):
    openvino = pytest.importorskip("openvino")
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert load_engine(*network, precision="bf16").precision == "bf16"
    else:
        with pytest.raises(InputError, match="precision bf16: this processor does not compute in it"):
            load_engine(*network, precision="bf16")
