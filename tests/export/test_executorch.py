"""The .pte: the numbers of the folded generator in ExecuTorch's XNNPACK, and the whole network for Vulkan."""

import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from bilayer.export.cli import main
from bilayer.export.network import executorch_write
from bilayer.export.network.evaluate import evaluate
from bilayer.export.network.executorch_write import PlainNetwork, build_pte, pte_tensors
from bilayer.export.network.layers import Conv
from bilayer.runtime.agreement import psnr
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.errors import ConversionError, ParityError, ToolMissingError
from tests import golden
from tests.export.test_graph import POSE, UPSAMPLES, generators  # noqa: F401 (a fixture)
from tests.export.test_tflite import export, photo  # noqa: F401 (a fixture)

try:
    from importlib.metadata import version

    version("executorch")
    MISSING = ""
except ImportError:
    MISSING = "the extra [executorch] is not installed"
needs_executorch = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.mark.parametrize("variant", [*UPSAMPLES, "norms kept", "three heads"])
def test_torchs_modules_are_the_generator(generators, variant):  # noqa: F811
    generator = generators[variant]
    network, pose = PlainNetwork(generator), torch.from_numpy(POSE)
    expected = evaluate(generator, pose.double())
    with torch.inference_mode():
        found = network(pose)
    for name, values in zip(generator.output_tensors, found, strict=True):
        assert psnr(values.numpy(), expected[name].numpy(), 2.0) > 100, name
    kinds = {type(step) for step in network.steps.values()}
    assert nn.Linear in kinds
    padded = [layer for layer in generator.layers if isinstance(layer, Conv) and len(set(layer.pads)) == 1]
    assert sum(isinstance(step, nn.Conv2d) for step in network.steps.values()) == len(padded)


@needs_executorch
@pytest.mark.slow
def test_xnnpack_gives_the_generators_numbers(generators):  # noqa: F811
    generator = generators["three heads"]
    expected = evaluate(generator, torch.from_numpy(POSE).double())
    content = build_pte(generator, "xnnpack")
    alone = sys.getrefcount(content)
    infer = pte_tensors(content, generator.output_tensors)
    assert sys.getrefcount(content) > alone  # ExecuTorch reads it as it runs: whoever gave it may let go of it
    found = infer(POSE[0])
    assert list(found) == list(generator.output_tensors)
    for name, values in found.items():
        assert psnr(values, expected[name].numpy(), 2.0) > 120, name


@needs_executorch
@pytest.mark.slow
def test_vulkan_takes_the_whole_network_and_is_not_run_here(generators):  # noqa: F811
    content = build_pte(generators["deconv"], "vulkan")
    assert content[4:8] == b"ET12"
    assert b"VulkanBackend" in content
    assert b"aten::" not in content  # an operator of the CPU's
    with pytest.raises(ToolMissingError, match=r"this executorch cannot run it"):
        pte_tensors(content, ("layers",))


@needs_executorch
@pytest.mark.slow
def test_what_vulkan_cannot_take_is_one_line_with_the_way_out(generators):  # noqa: F811
    with pytest.raises(ConversionError, match=r"to vulkan: .*; use --upsample deconv or nearest$"):
        build_pte(generators["phase"], "vulkan")


def test_without_the_package_the_extra_is_named(generators, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, "executorch.exir", None)
    monkeypatch.setitem(sys.modules, "executorch.runtime", None)
    with pytest.raises(ToolMissingError, match=r"pip install 'bilayer\[executorch\]'"):
        build_pte(generators["deconv"], "xnnpack")
    with pytest.raises(ToolMissingError, match=r"pip install 'bilayer\[executorch\]'"):
        pte_tensors(np.zeros(1).tobytes(), ())


def stand_in(monkeypatch, error=0.0):
    """Put torch in ExecuTorch's place: a .pte is its weights' stand-in, and runs with `error` added to each result."""
    made = []

    def build(generator, backend):
        made.append(generator)
        return backend.encode()

    def tensors(content, outputs):
        assert content == b"xnnpack"

        def infer(encoded):
            with torch.inference_mode():
                found = PlainNetwork(made[-1])(torch.from_numpy(encoded)[None])
            return {name: values.numpy() + np.float32(error) for name, values in zip(outputs, found, strict=True)}

        return infer

    monkeypatch.setattr("bilayer.export.options.check_installed", lambda modules: None)
    monkeypatch.setattr(executorch_write, "build_pte", build)
    monkeypatch.setattr(executorch_write, "pte_tensors", tensors)


def test_what_was_compared_stands_in_the_contract_and_is_printed(photo, tmp_path, monkeypatch):  # noqa: F811
    stand_in(monkeypatch)
    checkpoint = str(golden.CASE_A / "runs")
    arguments = [str(photo), "--landmarks", str(photo.with_suffix(".npy")), "--checkpoint", checkpoint]
    arguments += ["--target", "none", "--refine", "none", "--no-mask"]
    told = (
        ("pte-xnnpack", "executorch_db", "ExecuTorch (XNNPACK) equals ONNX Runtime: "),
        ("tflite", "litert_db", "LiteRT equals ONNX Runtime: "),
        ("tflite-fp16", "litert_fp16_frame_db", "LiteRT with weights in FP16: "),
    )
    for file, field, line in told:
        for asked in (True, False):
            out = tmp_path / f"{file}{asked}"
            also = [option for name, *_ in told if (name == file) == asked for option in ("--also", name)]
            done = CliRunner().invoke(main, [*arguments, "--out", str(out), *also])
            assert done.exit_code == 0, done.output
            printed, decibels = done.stdout, getattr(read_bundle(out).contract.verification, field)
            assert (decibels is not None) == asked
            assert (line in printed) == asked
            assert not asked or f"{line}{decibels:.0f} dB" in printed


def test_a_pte_that_is_not_the_onnx_is_not_written(photo, tmp_path, monkeypatch):  # noqa: F811
    stand_in(monkeypatch, 0.01)
    with pytest.raises(
        ParityError, match=r"the \.pte in ExecuTorch \(XNNPACK\) is not the ONNX: .*nothing was written"
    ):
        export(photo, tmp_path / "out", also=("pte-xnnpack",))
    assert not (tmp_path / "out").exists()


@needs_executorch
@pytest.mark.slow
def test_a_real_pte_has_its_decibels(photo, tmp_path):  # noqa: F811
    found = export(photo, tmp_path / "out", also=("pte-xnnpack",)).bundle.contract.verification
    assert found.executorch_db > 110
