"""Equal graphs of one generator, their cost and their errors: `bilayer-bench variants`."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from bilayer.benchmarks.speed.options import VariantsBench
from bilayer.benchmarks.speed.report import BenchReport, BenchRow, Cell
from bilayer.benchmarks.speed.timing import Samples, take_turns
from bilayer.export.network.emulate import half_storage
from bilayer.export.network.evaluate import evaluate
from bilayer.export.network.fold import PlainGenerator, fold
from bilayer.export.network.layers import FoldedGenerator, ScaleShift
from bilayer.export.network.lower import GraphOptions, lower
from bilayer.export.network.onnx_write import build_onnx
from bilayer.export.network.rewrite import MAX_KAPPA, fold_norms
from bilayer.model.config import PRESETS
from bilayer.model.networks.adaptive import AdaptiveParameters
from bilayer.model.networks.bilayer import BilayerModel, random_model
from bilayer.model.networks.embedders import harmonic_encoding
from bilayer.runtime.engines.onnx_runtime import make_session
from bilayer.runtime.frame import NetworkOutputs

WARM_UP = 2  # turns before the timed ones


def make_model(preset: str, poses: int) -> tuple[BilayerModel, AdaptiveParameters, NDArray[np.float64]]:
    """Return a random float64 model for evaluation, an avatar's predicted parameters, encoded poses (poses, width)."""
    config = PRESETS[preset]
    model = random_model(config, 0, ("keypoints_embedder", "inference_generator")).double()
    generator = torch.Generator().manual_seed(1)
    size = config.emb_output_tensor_size
    embeddings = [torch.randn(1, c, size, size, generator=generator).double() for c in config.texture_channels[1:]]
    encoded = torch.rand(poses, config.pse_in_channels, generator=generator).double() * 2 - 1
    if config.pse_use_harmonic_enc:
        encoded = harmonic_encoding(encoded, config.pse_num_harmonics)
    with torch.inference_mode():
        parameters = model.inference_generator.predict_parameters(embeddings)
    return model, parameters, encoded.numpy()


class UnfoldedFrame(torch.nn.Module):
    """A model as it was trained, for poses that are encoded already, as the exported network takes them."""

    def __init__(self, model: BilayerModel, parameters: AdaptiveParameters) -> None:
        super().__init__()
        self.embedder, self.generator = model.keypoints_embedder, model.inference_generator
        self.predicted = parameters

    def forward(self, encoded: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return delta_uv, lf_rgb and the segmentation's shares, (N, C, S, S) each, for poses (N, width)."""
        embedding = self.embedder.net["mlp"](encoded).view(-1, *self.embedder.out_shape)
        layers = self.generator(embedding, self.predicted)
        return layers.delta_uv, layers.lf_rgb, torch.sigmoid(layers.seg_logits)


def unfolded_outputs(
    model: BilayerModel, parameters: AdaptiveParameters, encoded: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the model's own outputs for an encoded pose (1, width), in float64: (6, S, S), segmentation as a share."""
    with torch.inference_mode():
        return torch.cat(UnfoldedFrame(model, parameters)(torch.from_numpy(encoded)), dim=1)[0].numpy()


def make_generator(preset: str) -> tuple[PlainGenerator, NDArray[np.float64], NDArray[np.float64]]:
    """Return a random generator, an encoded pose (1, width), and the unfolded model's outputs for it (6, S, S)."""
    model, parameters, encoded = make_model(preset, poses=1)
    return fold(model, parameters), encoded, unfolded_outputs(model, parameters, encoded)


def variants_of(plain: PlainGenerator) -> dict[str, FoldedGenerator]:
    """Return the graphs to compare by name, from norms kept as nodes to what the export writes."""
    folded, _ = fold_norms(plain)
    return {
        "norms kept": lower(plain, GraphOptions("nearest", skip_first=False, merged_head=False)),
        "norms folded": lower(folded, GraphOptions("nearest", skip_first=False, merged_head=False)),
        "+ skip first": lower(folded, GraphOptions("nearest", merged_head=False)),
        "+ one head: nearest": lower(folded, GraphOptions("nearest")),
        "deconv": lower(folded, GraphOptions("deconv")),
        "phase": lower(folded, GraphOptions("phase")),
    }


def measure(
    generators: dict[str, FoldedGenerator],
    expected: NDArray[np.float64],
    pose: NDArray[np.float64],
    options: VariantsBench,
) -> BenchReport:
    """Report every variant's time on one thread and on two, its size, and its largest differences to `expected`."""
    protos = {name: build_onnx(generator).SerializeToString() for name, generator in generators.items()}
    times: dict[int, dict[str, Samples]] = {}
    for threads in (1, 2):
        sessions = {name: make_session(proto, threads) for name, proto in protos.items()}
        sides = {name: partial(one.run, None, {"pose": pose.astype(np.float32)}) for name, one in sessions.items()}
        times[threads] = take_turns(sides, options.repeats, WARM_UP, f"{threads} threads")
    rows = []
    for name, generator in generators.items():
        columns: dict[str, Cell] = {
            "2 threads, median ms": round(times[2][name].median, 1),
            "GMAC": round(sum(generator.macs().values()) / 1e9, 4),
            "nodes": len(generator.layers),
            "norms": sum(isinstance(layer, ScaleShift) for layer in generator.layers),
            "MB": round(len(protos[name]) / 1e6, 2),
            "error, float64": f"{error(generator, expected, pose, half=False):.1e}",
            "error, FP16 storage": f"{error(generator, expected, pose, half=True):.1e}",
        }
        rows.append(BenchRow(name, times[1][name], columns))
    note = "ONNX Runtime, on one thread but for that column. Errors: of any output, to the unfolded model in float64."
    settings = {"preset": options.preset, "repeats": options.repeats}
    return BenchReport("Variants of the exported graph", tuple(rows), settings, ("onnxruntime",), notes=(note,))


def error(generator: FoldedGenerator, expected: NDArray[np.float64], pose: NDArray[np.float64], half: bool) -> float:
    """Return the largest difference of any output to `expected` (6, S, S)."""
    if half:
        results = evaluate(generator, torch.from_numpy(pose).float(), half_storage)
    else:
        results = evaluate(generator, torch.from_numpy(pose))
    tensors = {name: results[name].numpy() for name in generator.output_tensors}
    found = np.concatenate(list(NetworkOutputs.read(generator.outputs, tensors).by_name.values()))
    return float(np.abs(found.astype(np.float64) - expected).max())


def guard_report(plain: PlainGenerator, pose: NDArray[np.float64]) -> BenchReport:
    """Report the errors with and without the conditioning guard, for a norm of gamma far below its beta."""
    rows, options, block = [], GraphOptions("nearest"), plain.blocks[3]
    assert block.norm1 is not None
    beta = np.full_like(block.norm1.beta, 0.3)
    for gamma in (0.3, 0.02, 0.01, 1e-3, 0.0):
        norm = replace(block.norm1, gamma=np.full_like(beta, gamma), beta=beta)
        changed = replace(plain, blocks=(*plain.blocks[:3], replace(block, norm1=norm), *plain.blocks[4:]))
        reference = evaluate(lower(changed, options), torch.from_numpy(pose))["layers"][0].numpy()
        expected = np.concatenate([reference[:5], reference[5:] / 2 + 0.5])
        columns: dict[str, Cell] = {"kappa": f"{norm.kappa:.3g}"}
        for guard, max_kappa in (("guard on", MAX_KAPPA), ("guard off", np.inf)):
            with np.errstate(divide="ignore", invalid="ignore"):
                folded, _ = fold_norms(changed, max_kappa)
            columns[guard] = f"{error(lower(folded, options), expected, pose, half=True):.1e}"
        rows.append(BenchRow(f"gamma {gamma:g}", columns=columns))
    note = "The first norm of block 3 with beta 0.3 and a small gamma: the error with FP16 storage."
    return BenchReport("Norms that are ill-conditioned", tuple(rows), measured=False, notes=(note,))
