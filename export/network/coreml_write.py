"""A folded generator -> Core ML: an .mlpackage by coremltools' MIL builder, layer by layer, the same bytes always.

A package is a folder; it is written as one .zip, which a Mac unpacks by a double click. All is float32, NCHW, with the
names of the .onnx. Only a Mac can run it: what is written here is not run here.
"""

import io
import json
import logging
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np

from bilayer.export.network import layers as plain
from bilayer.export.network.layers import INPUT, Array, FoldedGenerator, Layer
from bilayer.runtime.command.extras import naming_extras
from bilayer.runtime.files.zips import zip_bytes
from bilayer.runtime.process.environment import kept_environment
from bilayer.runtime.process.start_method import open_start_method

PACKAGE = "avatar.mlpackage"  # in the .zip
_MODEL, _WEIGHTS = "com.apple.CoreML/model.mlmodel", "com.apple.CoreML/weights"
_TENSORFLOWS = "TF_CPP_MIN_LOG_LEVEL"  # set as coremltools is loaded


def build_mlpackage(generator: FoldedGenerator, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the zipped .mlpackage of one avatar, for iOS 15 and macOS 12.

    Its input is `pose` (1, width), its outputs are (1, C, S, S).

    Args:
        generator: what to build.
        metadata: goes into the model's user-defined fields.

    Raises:
        ToolMissingError: coremltools is not installed.
    """
    with _coremltools() as ct:
        target = ct.target.iOS15
        model = ct.convert(
            _program(generator, ct),
            source="milinternal",
            convert_to="mlprogram",
            minimum_deployment_target=target,
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=ct.PassPipeline.EMPTY,  # an operation for each layer
            skip_model_load=True,
            package_dir=str(Path(tempfile.gettempdir(), PACKAGE)),  # not one that is removed as the process ends
        )
        spec = model.get_spec()
        spec.description.metadata.userDefined.update(metadata or {})
        weights = (Path(model.weights_dir) / "weight.bin").read_bytes()
    return _zipped(spec.SerializeToString(deterministic=True), weights)


@contextmanager
def _coremltools() -> Iterator[Any]:
    """The module, without its words about what only a Mac has, and a temporary folder for what it leaves."""
    level, keep = logging.root.manager.disable, tempfile.tempdir
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        redirect_stderr(io.StringIO()),
        kept_environment(_TENSORFLOWS),
        open_start_method(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        tempfile.tempdir = folder
        try:
            with naming_extras():
                import coremltools
            with _bars_unwatched():
                yield coremltools
        finally:
            tempfile.tempdir = keep
            logging.disable(level)


@contextmanager
def _bars_unwatched() -> Iterator[None]:
    """Inside, bars of tqdm, which coremltools shows, start no thread that stays to watch them."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    usual, tqdm.monitor_interval = tqdm.monitor_interval, 0
    try:
        yield
    finally:
        tqdm.monitor_interval = usual


def _program(generator: FoldedGenerator, ct: Any) -> Any:
    from coremltools.converters.mil import Builder as mb  # noqa: N813 (its own documents' name)

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, generator.input_width))], opset_version=ct.target.iOS15)  # type: ignore[untyped-decorator, unused-ignore]
    def program(pose: Any) -> Any:
        found = {INPUT: pose}
        for layer in generator.layers:
            found[layer.name] = _operation(layer, [found[name] for name in layer.inputs], mb)
        return tuple(found[name] for name in generator.output_tensors)

    return program


def _operation(layer: Layer, inputs: list[Any], mb: Any) -> Any:
    x, name = inputs[0], layer.name
    match layer:
        case plain.Gemm():
            return mb.linear(x=x, weight=_single(layer.weight), bias=_single(layer.bias), name=name)
        case plain.Reshape():
            return mb.reshape(x=x, shape=(1, *layer.shape), name=name)
        case plain.ScaleShift():
            scale, shift = (_single(values).reshape(1, -1, 1, 1) for values in (layer.scale, layer.shift))
            return mb.add(x=mb.mul(x=x, y=scale, name=f"{name}_scaled"), y=shift, name=name)
        case plain.Conv():
            top, left, bottom, right = layer.pads
            pads = {"pad_type": "custom", "pad": [top, bottom, left, right]}
            return mb.conv(x=x, weight=_single(layer.weight), bias=_single(layer.bias), name=name, **pads)
        case plain.ConvTranspose():
            pads = {"pad_type": "custom", "pad": [1, 1, 1, 1], "strides": [2, 2]}
            return mb.conv_transpose(x=x, weight=_single(layer.weight), bias=_single(layer.bias), name=name, **pads)
        case plain.Upsample():
            return mb.upsample_nearest_neighbor(x=x, scale_factor_height=2, scale_factor_width=2, name=name)
        case plain.LeakyRelu():
            return mb.leaky_relu(x=x, alpha=np.float32(layer.slope), name=name)
        case plain.Activation():
            return (mb.tanh if layer.function == "tanh" else mb.sigmoid)(x=x, name=name)
        case plain.Add():
            return mb.add(x=x, y=inputs[1], name=name)
        case plain.Concat():
            return mb.concat(values=tuple(inputs), axis=1, name=name)
        case plain.DepthToSpace():
            return mb.depth_to_space(x=x, block_size=2, name=name)
    raise TypeError(f"{layer.name}: no rule to export a {type(layer).__name__}")


def _single(values: Array) -> Any:
    return values.astype(np.float32)


def _zipped(model: bytes, weights: bytes) -> bytes:
    """The folder that `coremltools` would save, whose Manifest.json names its items by chance, here by their paths."""
    items = {
        str(uuid.uuid5(uuid.NAMESPACE_URL, path)): {
            "author": "com.apple.CoreML", "description": description, "name": path.rpartition("/")[2], "path": path
        }
        for path, description in ((_MODEL, "CoreML Model Specification"), (_WEIGHTS, "CoreML Model Weights"))
    }  # fmt: skip
    root = str(uuid.uuid5(uuid.NAMESPACE_URL, _MODEL))
    manifest = {"fileFormatVersion": "1.0.0", "itemInfoEntries": items, "rootModelIdentifier": root}
    files = {
        "Manifest.json": json.dumps(manifest, indent=4, allow_nan=False).encode(),
        f"Data/{_MODEL}": model,
        f"Data/{_WEIGHTS}/weight.bin": weights,
    }
    return zip_bytes((f"{PACKAGE}/{name}", data) for name, data in files.items())
