"""The .pte: the numbers of the folded generator in ExecuTorch's XNNPACK, and the whole network for Vulkan."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from bilayer.export.network.evaluate import evaluate
from bilayer.export.network.executorch_write import PlainNetwork, build_pte, pte_tensors
from bilayer.export.network.layers import Conv
from bilayer.runtime.agreement import psnr
from bilayer.runtime.errors import ConversionError, ToolMissingError
from tests.export.test_graph import POSE, UPSAMPLES, generators  # noqa: F401 (a fixture)

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
