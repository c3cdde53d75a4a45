"""Which engine runs a network, and what is said where it cannot."""

import importlib.util
from dataclasses import replace

import pytest

from bilayer.runtime.agreement import psnr
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.engines import choice as engines
from bilayer.runtime.engines.choice import choose_engine, installed
from bilayer.runtime.engines.load import load_engine
from bilayer.runtime.errors import BundleError, InputError, ToolMissingError


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
    with pytest.raises(ToolMissingError, match=r"pip install 'bilayer\[openvino\]', or leave --precision bf16 out$"):
        load_engine(*network, "auto", "bf16")
    for name in ("ncnn", "ncnn-vulkan"):
        with pytest.raises(ToolMissingError, match=rf"engine {name}: not installed; pip install 'bilayer\[ncnn\]'"):
            load_engine(*network, name)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"name": "tensorrt"},
            "engine: expected one of auto, onnxruntime, openvino, ncnn, ncnn-vulkan, litert; found 'tensorrt'",
        ),
        ({"precision": "int4"}, "precision: expected one of fp32, bf16, fp16, w8a16, w8a8; found 'int4'"),
        ({"name": "onnxruntime", "precision": "bf16"}, "engine onnxruntime computes in fp32 and w8a16 and w8a8 only"),
        (
            {"name": "onnxruntime", "precision": "fp16"},
            "w8a8 only; --engine ncnn or --engine ncnn-vulkan or --engine litert has it",
        ),
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


def test_litert_reads_the_file_of_the_precision(network):
    path, contract = network
    exact = load_engine(path, contract, "onnxruntime").run(contract.source.pose)
    for precision, least in (("fp32", 110), ("fp16", 50)):
        engine = load_engine(path, contract, "litert", precision, threads=1)
        assert (engine.name, engine.precision) == ("litert", precision)
        for name, values in engine.run(contract.source.pose).by_name.items():
            db = psnr(values, exact.by_name[name], 2.0)
            assert db > least, (precision, name)
            assert precision == "fp32" or db < 110


def test_litert_needs_a_bundle_with_its_file(network):
    path, contract = network
    bare = replace(contract, files=replace(contract.files, tflite=None, tflite_fp16=None))
    for precision, wanted in (("fp32", "tflite"), ("fp16", "tflite-fp16")):
        with pytest.raises(
            BundleError, match=rf"has no \.tflite in {precision}; export it again with --also {wanted}$"
        ):
            load_engine(path, bare, "litert", precision)


def test_a_tflite_of_something_else_is_refused(network, tmp_path):
    path, contract = network
    named = replace(contract, files=replace(contract.files, tflite=replace(contract.files.tflite, name="other.tflite")))
    (tmp_path / "other.tflite").write_bytes(b"\x1c\0\0\0TFL3 and no more")
    with pytest.raises(BundleError, match=r"other\.tflite: not a network that can be run"):
        load_engine(tmp_path / path.name, named, "litert")
    wrong = replace(contract, input=replace(contract.input, tensor="face"))
    with pytest.raises(BundleError, match=r"avatar\.tflite: input: expected face \[1, 136\] in float32, found pose"):
        load_engine(path, wrong, "litert")
