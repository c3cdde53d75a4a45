"""A folded generator -> ExecuTorch's .pte, by its XNNPACK or Vulkan backend: torch modules of plain layers, lowered.

ExecuTorch is the successor of PyTorch Mobile, which the paper compares with (https://docs.pytorch.org/executorch).
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bilayer.export.network import layers as plain
from bilayer.export.network.evaluate import run_layer
from bilayer.export.network.layers import INPUT, Array, FoldedGenerator, Layer
from bilayer.runtime.arrays import Floats
from bilayer.runtime.errors import ConversionError, ToolMissingError
from bilayer.runtime.process.native_stderr import sifting

PteBackend = Literal["xnnpack", "vulkan"]

INSTALL = "pip install 'bilayer[executorch]'"


class PlainNetwork(nn.Module):
    """The layers in torch's own modules, float32: (1, input_width) to a tuple of the output tensors (1, C, H, W)."""

    def __init__(self, generator: FoldedGenerator) -> None:
        super().__init__()
        self.steps = nn.ModuleDict({layer.name: _module(layer) for layer in generator.layers})
        self._reads = {layer.name: layer.inputs for layer in generator.layers}
        self._outputs = generator.output_tensors

    def forward(self, pose: Tensor) -> tuple[Tensor, ...]:
        """Return the output tensors, in the generator's order."""
        values = {INPUT: pose}
        for name, step in self.steps.items():
            values[name] = step(*(values[source] for source in self._reads[name]))
        return tuple(values[name] for name in self._outputs)


def build_pte(generator: FoldedGenerator, backend: PteBackend) -> bytes:
    """Return the .pte of one avatar: input (1, width), outputs (1, C, H, W) in the generator's order, in float32.

    Raises:
        ToolMissingError: the package executorch is not installed.
        ConversionError: the backend leaves some of the network to others, or fails.
    """
    network = PlainNetwork(generator).eval()
    pose = torch.zeros(1, generator.input_width)
    with _quiet():
        try:
            from executorch.exir import to_edge_transform_and_lower
        except ImportError as error:
            raise ToolMissingError(f"a .pte: executorch is not installed ({error}); {INSTALL}") from error
        program = torch.export.export(network, (pose,), strict=False)
        try:
            edge = to_edge_transform_and_lower(program, partitioner=[_partitioner(backend)])
            left = sorted(_left(edge.exported_program()))
            content = bytes(edge.to_executorch().buffer)
        except Exception as error:  # its passes raise many kinds
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            phased = any(isinstance(layer, plain.DepthToSpace) for layer in generator.layers)
            way_out = "; use --upsample deconv or nearest" if phased else ""
            raise ConversionError(f"executorch cannot lower the network to {backend}: {reason}{way_out}") from error
    if backend == "vulkan" and left:
        names = ", ".join(left)
        raise ConversionError(
            f"executorch's Vulkan backend leaves {names} to the CPU; use --upsample deconv or nearest"
        )
    return content


def pte_tensors(content: bytes, outputs: Sequence[str]) -> Callable[[Floats], dict[str, Floats]]:
    """Return a function from an encoded pose (width,) to a .pte's outputs (1, C, H, W) by their names, in new arrays.

    Raises:
        ToolMissingError: the package executorch is not installed, or has not the backend of the file.
    """
    with _quiet():
        try:
            from executorch.runtime import Runtime
        except ImportError as error:
            raise ToolMissingError(f"a .pte: executorch is not installed ({error}); {INSTALL}") from error
        try:
            program = Runtime.get().load_program(content)
            method = program.load_method("forward")
        except RuntimeError as error:
            raise ToolMissingError(f"a .pte: this executorch cannot run it ({error})") from error

    def infer(encoded: Floats) -> dict[str, Floats]:
        _ = content, program  # it reads both as it runs, and holds neither: this does
        found = method.execute([torch.from_numpy(encoded)[None]])
        return {name: tensor.numpy().copy() for name, tensor in zip(outputs, found, strict=True)}

    return infer


def _partitioner(backend: PteBackend) -> Any:
    if backend == "xnnpack":
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

        return XnnpackPartitioner()
    from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

    return VulkanPartitioner()


def _left(program: Any) -> Iterator[str]:
    """The operators that no backend took."""
    for node in program.graph.nodes:
        name = str(node.target)
        if node.op == "call_function" and "getitem" not in name and "executorch_call_delegate" not in name:
            yield name


def _module(layer: Layer) -> nn.Module:
    match layer:
        case plain.Gemm():
            return _filled(nn.Linear(*reversed(layer.weight.shape)), layer.weight, layer.bias)
        case plain.Conv() if len(set(layer.pads)) == 1:
            outputs, inputs, side, _ = layer.weight.shape
            return _filled(nn.Conv2d(inputs, outputs, side, padding=layer.pads[0]), layer.weight, layer.bias)
        case plain.ConvTranspose():
            inputs, outputs = layer.weight.shape[:2]
            return _filled(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1), layer.weight, layer.bias)
    return _Step(layer)


def _filled(module: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, weight: Array, bias: Array) -> nn.Module:
    for name, array in {"weight": weight, "bias": bias}.items():
        contiguous = torch.from_numpy(array).float().contiguous()  # XNNPACK's passes take another order for NHWC
        setattr(module, name, nn.Parameter(contiguous, requires_grad=False))
    return module


class _Step(nn.Module):
    """A layer that torch has no module for, or one without weights."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self._layer = layer

    def forward(self, *inputs: Tensor) -> Tensor:
        return run_layer(self._layer, list(inputs))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the package logs of its own work, and its warnings of what it itself calls."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), sifting(lambda line: True):  # its libraries write there, too
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
