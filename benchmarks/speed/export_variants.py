"""Equal graphs of one generator, their cost and their errors: `python -m bilayer.benchmarks.speed.export_variants`."""

import json
import platform
import statistics
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import click

from bilayer.benchmarks.speed.options import VariantsBench
from bilayer.runtime.console import Command, as_json_option, progress, table
from bilayer.runtime.options import fills

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bilayer.export.network.fold import PlainGenerator
    from bilayer.export.network.layers import FoldedGenerator
    from bilayer.model.adaptive import AdaptiveParameters
    from bilayer.model.bilayer import BilayerModel


@dataclass(frozen=True)
class Variant:
    """One variant of the exported graph: its size, its time and its errors."""

    name: str
    gmacs: float
    nodes: int
    norms: int  # that are left as nodes
    megabytes: float
    float64_error: float  # largest difference of any output to the unfolded model, computed in float64
    half_error: float  # the same with weights and layers stored in FP16, computed in float32
    milliseconds: dict[str, float]  # ONNX Runtime's median, by threads


@click.command(cls=Command)
@fills(VariantsBench)
@as_json_option
def main(options: VariantsBench, as_json: bool) -> None:
    """Cost, error and time of every export variant of a random generator, in one interleaved run."""
    preset, repeats = options.preset, options.repeats
    plain, pose, expected = make_generator(preset)
    variants = measure(variants_of(plain), expected, pose, repeats)
    guard = guard_table(plain, pose)
    if as_json:
        click.echo(json.dumps({"preset": preset, "variants": [asdict(v) for v in variants], "guard": guard}, indent=2))
        return
    click.echo(f"{preset}, {platform.machine()}, ONNX Runtime on 1 and 2 threads, medians of {repeats}\n")
    headers = [
        "variant",
        "GMAC",
        "nodes",
        "norms",
        "MB",
        "error, float64",
        "error, FP16 storage",
        "1 thread ms",
        "2 threads ms",
    ]
    click.echo(table(headers, [_row(variant) for variant in variants]))
    click.echo("\nFirst norm of block 3 with beta 0.3 and a small gamma; error with FP16 storage:\n")
    click.echo(table(["gamma", "kappa", "guard on", "guard off"], guard))


def _row(v: Variant) -> tuple[object, ...]:
    times = [f"{ms:.1f}" for ms in v.milliseconds.values()]
    errors = f"{v.float64_error:.1e}", f"{v.half_error:.1e}"
    return v.name, f"{v.gmacs:.3f}", v.nodes, v.norms, f"{v.megabytes:.2f}", *errors, *times


def make_model(preset: str, poses: int) -> tuple["BilayerModel", "AdaptiveParameters", "NDArray[np.float64]"]:
    """A random model for evaluation in float64, an avatar's predicted parameters, and encoded poses (poses, width)."""
    import torch

    from bilayer.model.bilayer import random_model
    from bilayer.model.config import PRESETS
    from bilayer.model.embedders import harmonic_encoding

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


def unfolded_outputs(
    model: "BilayerModel", parameters: "AdaptiveParameters", encoded: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    """The model's own outputs for an encoded pose (1, width), in float64: (6, S, S), the segmentation as a share."""
    import torch

    mlp = model.keypoints_embedder
    with torch.inference_mode():
        embedding = mlp.net["mlp"](torch.from_numpy(encoded)).view(-1, *mlp.out_shape)
        layers = model.inference_generator(embedding, parameters)
    outputs = [layers.delta_uv, layers.lf_rgb, torch.sigmoid(layers.seg_logits)]
    return torch.cat(outputs, dim=1)[0].numpy()


def make_generator(preset: str) -> tuple["PlainGenerator", "NDArray[np.float64]", "NDArray[np.float64]"]:
    """A random generator, an encoded pose (1, width), and the unfolded model's outputs for it (6, S, S)."""
    from bilayer.export.network.fold import fold

    model, parameters, encoded = make_model(preset, poses=1)
    return fold(model, parameters), encoded, unfolded_outputs(model, parameters, encoded)


def variants_of(plain: "PlainGenerator") -> "dict[str, FoldedGenerator]":
    """Return the graphs to compare by name, from norms kept as nodes to what the export writes."""
    from bilayer.export.network.lower import GraphOptions, lower
    from bilayer.export.network.rewrite import fold_norms

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
    generators: "dict[str, FoldedGenerator]",
    expected: "NDArray[np.float64]",
    pose: "NDArray[np.float64]",
    repeats: int,
) -> list[Variant]:
    """Measure every variant. The timing goes round them, so that a busy moment hits them alike."""
    import numpy as np

    from bilayer.export.network.layers import ScaleShift
    from bilayer.export.network.onnx_write import build_onnx
    from bilayer.runtime.engines.onnx_runtime import make_session

    protos = {name: build_onnx(generator).SerializeToString() for name, generator in generators.items()}
    times: dict[str, dict[str, float]] = {name: {} for name in generators}
    with progress("timing", 2 * (repeats + 2) * len(generators)) as advance:
        for threads in (1, 2):
            sessions = {}
            for name, proto in protos.items():
                sessions[name] = make_session(proto, threads)
            samples: dict[str, list[float]] = {name: [] for name in generators}
            for _ in range(repeats + 2):
                for name, session in sessions.items():
                    start = time.perf_counter()
                    session.run(None, {"pose": pose.astype(np.float32)})
                    samples[name].append(time.perf_counter() - start)
                    advance()
            for name, seconds in samples.items():
                times[name][str(threads)] = statistics.median(seconds[2:]) * 1e3
    return [
        Variant(
            name=name,
            gmacs=round(sum(generator.macs().values()) / 1e9, 4),
            nodes=len(generator.layers),
            norms=sum(isinstance(layer, ScaleShift) for layer in generator.layers),
            megabytes=len(protos[name]) / 1e6,
            float64_error=error(generator, expected, pose, half=False),
            half_error=error(generator, expected, pose, half=True),
            milliseconds=times[name],
        )
        for name, generator in generators.items()
    ]


def error(
    generator: "FoldedGenerator", expected: "NDArray[np.float64]", pose: "NDArray[np.float64]", half: bool
) -> float:
    """Largest difference of any output to `expected` (6, S, S)."""
    import numpy as np
    import torch

    from bilayer.export.network.emulate import half_storage
    from bilayer.export.network.evaluate import evaluate
    from bilayer.runtime.frame import NetworkOutputs

    if half:
        results = evaluate(generator, torch.from_numpy(pose).float(), half_storage)
    else:
        results = evaluate(generator, torch.from_numpy(pose))
    tensors = {name: results[name].numpy() for name in generator.output_tensors}
    found = np.concatenate(list(NetworkOutputs.read(generator.outputs, tensors).by_name.values()))
    return float(np.abs(found.astype(np.float64) - expected).max())


def guard_table(plain: "PlainGenerator", pose: "NDArray[np.float64]") -> list[tuple[str, ...]]:
    """Return rows of the errors with and without the conditioning guard, for a norm of gamma far below its beta."""
    import numpy as np
    import torch

    from bilayer.export.network.evaluate import evaluate
    from bilayer.export.network.lower import GraphOptions, lower
    from bilayer.export.network.rewrite import MAX_KAPPA, fold_norms

    rows = []
    options = GraphOptions("nearest")
    for gamma in (0.3, 0.02, 0.01, 1e-3, 0.0):
        block = plain.blocks[3]
        assert block.norm1 is not None
        norm = replace(
            block.norm1, gamma=np.full_like(block.norm1.gamma, gamma), beta=np.full_like(block.norm1.beta, 0.3)
        )
        blocks = (*plain.blocks[:3], replace(block, norm1=norm), *plain.blocks[4:])
        changed = replace(plain, blocks=blocks)
        reference = evaluate(lower(changed, options), torch.from_numpy(pose))["layers"][0].numpy()
        expected = np.concatenate([reference[:5], reference[5:] / 2 + 0.5])
        errors = []
        for max_kappa in (MAX_KAPPA, np.inf):
            with np.errstate(divide="ignore", invalid="ignore"):
                folded, _ = fold_norms(changed, max_kappa)
            errors.append(f"{error(lower(folded, options), expected, pose, half=True):.1e}")
        rows.append((f"{gamma:g}", f"{norm.kappa:.3g}", *errors))
    return rows


if __name__ == "__main__":
    main()
