"""ncnn computes what ONNX Runtime does, from files that are converted once; and says why where it cannot."""

import json
import sys

import numpy as np
import pytest

from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.engines import ncnn_convert
from bilayer.runtime.engines.load import load_engine
from bilayer.runtime.engines.ncnn_convert import ncnn_network
from bilayer.runtime.errors import BundleError, ConversionError, OutputError, ToolMissingError
from tests import golden
from tests.runtime.conftest import POSES, export

ncnn = pytest.importorskip("ncnn", reason="ncnn is not installed")
if ncnn_convert.importlib.util.find_spec("pnnx") is None:
    pytest.skip("pnnx is not installed", allow_module_level=True)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.getbasetemp() / "ncnn-cache"
    monkeypatch.setenv("BILAYER_CACHE", str(folder))
    return folder


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BILAYER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def avatar(tmp_path_factory):
    """Of the trained tiny model: (.onnx, contract) by way of upsampling."""
    networks = {}

    def make(upsample):
        if upsample not in networks:
            folder = tmp_path_factory.mktemp(upsample)
            bundle = read_bundle(export(folder, golden.CASE_A / "runs", upsample=upsample).folder)
            networks[upsample] = bundle.path(bundle.contract.files.onnx), bundle.contract
        return networks[upsample]

    return make


def largest_difference(network, **choice):
    """To ONNX Runtime's outputs, which lie in -1..1."""
    expected, engine = load_engine(*network, "onnxruntime"), load_engine(*network, **choice)
    differences = []
    for pose in POSES:
        engine.run(pose), expected.run(pose)
        outputs, wanted = engine.tensors, expected.tensors
        assert outputs.keys() == wanted.keys()
        assert all(outputs[name].shape == wanted[name].shape for name in wanted)
        assert np.ptp(wanted["layers"]) > 0.5  # not a flat field
        differences += [np.abs(outputs[name] - wanted[name]).max() for name in wanted]
    return max(differences)


@pytest.mark.parametrize("upsample", ["deconv", "nearest"])
def test_outputs_are_onnx_runtimes(avatar, upsample):
    assert largest_difference(avatar(upsample), name="ncnn", threads=1) < 1e-4


@pytest.mark.parametrize("upsample", ["deconv", "nearest"])
def test_half_precision_is_near_and_not_the_same(avatar, upsample):
    engine = load_engine(*avatar(upsample), precision="fp16")  # which picks the engine
    assert (engine.name, engine.precision) == ("ncnn", "fp16")
    assert 1e-4 < largest_difference(avatar(upsample), name="ncnn", precision="fp16") < 0.02


def test_the_number_of_threads_changes_no_bit(avatar):
    engines = [load_engine(*avatar("deconv"), "ncnn", threads=threads) for threads in (1, 2)]
    first, second = ([engine.run(pose).lf_rgb.tobytes() for pose in POSES] for engine in engines)
    assert first == second


def test_a_layer_that_ncnn_lacks_is_named(avatar):
    with pytest.raises(
        ConversionError, match=r"avatar.onnx: ncnn .* has no layer DepthToSpace; export the avatar with"
    ):
        load_engine(*avatar("phase"), "ncnn")


def test_a_network_is_converted_once(avatar, empty_cache, monkeypatch):
    first = ncnn_network(*avatar("deconv"))
    assert first.param.is_relative_to(empty_cache)
    assert len(list(first.param.parent.iterdir())) == 3  # nothing of the work is left
    monkeypatch.setattr(ncnn_convert, "run", None)
    assert ncnn_network(*avatar("deconv")) == first
    with pytest.raises(TypeError):  # another network
        ncnn_network(*avatar("nearest"))


@pytest.mark.parametrize("suffix", [".param", ".bin", ".json"])
@pytest.mark.parametrize("damage", [None, lambda content: content[:-100], lambda content: content[:50] + b"7" * 9])
def test_a_damaged_cache_is_made_anew(avatar, empty_cache, suffix, damage):
    stem = ncnn_network(*avatar("deconv")).param
    contents = {path: path.read_bytes() for path in stem.parent.iterdir()}
    damaged = stem.with_suffix(suffix)
    if damage is None:
        damaged.unlink()
    else:
        damaged.write_bytes(damage(contents[damaged]))
    ncnn_network(*avatar("deconv"))
    assert {path: path.read_bytes() for path in stem.parent.iterdir()} == contents


@pytest.mark.parametrize("content", ["[]", "null", '{"files": 3}', '{"ends": {}, "files": []}'])
def test_any_json_in_the_cache_is_survived(avatar, empty_cache, content):
    network = ncnn_network(*avatar("deconv"))
    record = network.param.with_suffix(".json")
    known = json.loads(record.read_text())
    record.write_text(content)
    assert ncnn_network(*avatar("deconv")) == network
    del known["ends"]["inputs"]
    record.write_text(json.dumps(known))
    assert ncnn_network(*avatar("deconv")) == network


@pytest.fixture
def stand_in(tmp_path, monkeypatch, empty_cache):
    """Another program in pnnx's place."""

    def use(source):
        program = tmp_path / "pnnx"
        program.write_text(f"#!{sys.executable}\n{source}")
        program.chmod(0o755)
        monkeypatch.setattr(ncnn_convert, "_find_pnnx", lambda: (program, "0"))
        return program

    yield use
    assert not [path for path in empty_cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("print('no idea'); raise SystemExit(7)", r"pnnx 0 ended with code 7 \(no idea\); choose another --engine"),
        ("import os; os.abort()", "pnnx 0 crashed with signal 6"),
        ("open('network.ncnn.param', 'w')", r"pnnx 0 left no .bin \(no message\)"),
        ("import time; time.sleep(60)", "pnnx 0 did not end within 1 s and was stopped"),
    ],
)
def test_a_converter_that_fails_is_one_line(avatar, stand_in, monkeypatch, source, words):
    network = avatar("deconv")
    stand_in(source)
    if "sleep" in source:
        monkeypatch.setattr(ncnn_convert, "TIMEOUT", 0.5)
    with pytest.raises(ConversionError, match=words) as caught:
        load_engine(*network, "ncnn")
    assert "\n" not in str(caught.value)
    assert str(network[0]) in str(caught.value)


def test_a_converter_that_cannot_be_run(avatar, stand_in):
    network = avatar("deconv")
    stand_in("").unlink()
    with pytest.raises(ToolMissingError, match="cannot be started: No such file"):
        load_engine(*network, "ncnn")


def test_a_missing_converter_names_what_installs_it(avatar, monkeypatch):
    monkeypatch.setattr(ncnn_convert.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolMissingError, match=r"pnnx is not installed; pip install 'bilayer\[ncnn\]'"):
        ncnn_network(*avatar("deconv"))


def test_a_cache_that_cannot_be_written(avatar, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BILAYER_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        OutputError, match="file is a file and not a folder; name another place; set BILAYER_CACHE to a writable folder"
    ):
        ncnn_network(*avatar("deconv"))


def test_no_network_at_all(avatar, tmp_path):
    _, contract = avatar("deconv")
    with pytest.raises(BundleError, match="not a network that can be run"):
        load_engine(tmp_path / "none.onnx", contract, "ncnn")


def test_without_a_vulkan_device_it_says_so(avatar, monkeypatch):
    monkeypatch.setattr(ncnn, "get_gpu_count", lambda: 0)
    with pytest.raises(ToolMissingError, match="engine ncnn-vulkan: found no Vulkan device"):
        load_engine(*avatar("deconv"), "ncnn-vulkan")


@pytest.mark.slow
@pytest.mark.parametrize("upsample", ["deconv", "nearest"])
def test_vulkan(avatar, upsample):
    """Single precision is ONNX Runtime's; half, in storage alone and in the arithmetic as well, is near."""
    from bilayer.runtime.engines.ncnn import Ncnn, NcnnSettings
    from bilayer.runtime.process.native_stderr import sifting

    with sifting(lambda line: True):
        if ncnn.get_gpu_count() == 0:
            pytest.skip("there is no Vulkan device")
    network = avatar(upsample)
    assert largest_difference(network, name="ncnn-vulkan") < 1e-3
    exact = load_engine(*network, "onnxruntime").run(POSES[0])
    off = {}
    for half in ("store", "compute"):
        engine = Ncnn(*network, NcnnSettings(half, vulkan=True))
        assert (engine.name, engine.precision) == ("ncnn-vulkan", "fp16")
        off[half] = np.abs(engine.run(POSES[0]).lf_rgb - exact.lf_rgb).mean()
    assert 1e-5 < off["store"] < off["compute"] < 0.02
