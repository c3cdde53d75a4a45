"""Faults planted one at a time in a finished bundle, hashes renewed: which step tells, without and with the photo.

`python -m tests.benchmarks.fault_table` prints the table of docs/parity.md.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from safetensors.numpy import load_file, save_file

from bilayer.benchmarks.parity.ladder import climb
from bilayer.benchmarks.parity.rungs.dlc import open_dlc
from bilayer.benchmarks.parity.rungs.rung import EmulatedRung, OnnxRung
from bilayer.benchmarks.parity.rungs.trained import ExactTrained, make_trained
from bilayer.export.dlc.container import read_members
from bilayer.export.network.layers import FoldedGenerator
from bilayer.export.network.tflite_write import build_tflite
from bilayer.export.tflite.read import read_tflite
from bilayer.runtime.bundle import Bundle
from bilayer.runtime.errors import BilayerError
from bilayer.runtime.sampler.grid_sample import pack_texture
from tests.benchmarks.avatars import copied, export_tiny, rewritten, source_of, subject_of
from tests.export import dlc_writer


@dataclass(frozen=True)
class Fault:
    """Something wrong with a bundle."""

    file: str
    name: str
    plant: Callable[[Bundle], dict[str, Any]]  # changes files in place; gives fields of avatar.json to change


def onnx_faults() -> Iterator[Fault]:
    def changing(change: Callable[[onnx.ModelProto], None]) -> Callable[[Bundle], dict[str, Any]]:
        def plant(bundle: Bundle) -> dict[str, Any]:
            path = bundle.path(bundle.contract.files.onnx)
            model = onnx.load(path)
            change(model)
            path.write_bytes(model.SerializeToString(deterministic=True))
            return {}

        return plant

    def array(name: str, change: Callable[[np.ndarray], None]) -> Callable[[Bundle], dict[str, Any]]:
        def edit(model: onnx.ModelProto) -> None:
            tensor = next(t for t in model.graph.initializer if t.name == name)
            values = numpy_helper.to_array(tensor).copy()
            change(values)
            tensor.CopyFrom(numpy_helper.from_array(values, name))

        return changing(edit)

    def attribute(operator: str, key: str, value: Any, every: bool = True) -> Callable[[Bundle], dict[str, Any]]:
        def edit(model: onnx.ModelProto) -> None:
            nodes = [node for node in model.graph.node if node.op_type == operator]
            for node in nodes if every else nodes[:1]:
                kept = [a for a in node.attribute if a.name != key]
                del node.attribute[:]
                node.attribute.extend([*kept, helper.make_attribute(key, value)])

        return changing(edit)

    def rewire(model: onnx.ModelProto) -> None:
        adds = [node for node in model.graph.node if node.op_type == "Add"]
        adds[-1].input[1] = adds[-1].input[0]

    def set_to(values: np.ndarray, number: float) -> None:
        values[:] = number

    def swap(values: np.ndarray) -> None:
        values[[2, 4]] = values[[4, 2]]

    def nudge(values: np.ndarray) -> None:
        values.reshape(-1)[values.size // 2] += 1e-2

    yield Fault("onnx", "all slopes 0.1", attribute("LeakyRelu", "alpha", 0.1))
    yield Fault("onnx", "one slope 0.1", attribute("LeakyRelu", "alpha", 0.1, every=False))
    yield Fault("onnx", "padding moved by one pixel", attribute("Conv", "pads", [0, 0, 2, 2], every=False))
    yield Fault("onnx", "a skip connection led elsewhere", changing(rewire))
    yield Fault("onnx", "two channels of the head swapped", array("head.weight", swap))
    yield Fault("onnx", "a bias dropped", array("block0_conv2.bias", lambda values: set_to(values, 0)))
    yield Fault("onnx", "one weight off by 1e-2", array("head.weight", nudge))
    yield Fault("onnx", "a layer's weights halved", array("block1_conv1.weight", lambda v: set_to(v, v * 0.5)))
    yield Fault("onnx", "a weight NaN", array("block1_conv1.bias", lambda v: set_to(v, np.nan)))


def dlc_faults() -> Iterator[Fault]:
    def v4(change: Callable[[bytearray, Bundle], None]) -> Callable[[Bundle], dict[str, Any]]:
        def plant(bundle: Bundle) -> dict[str, Any]:
            path = bundle.path(bundle.contract.files.dlc)
            data = bytearray(path.read_bytes())
            before = bytes(data)
            change(data, bundle)
            assert bytes(data) != before
            path.write_bytes(bytes(data))
            return {}

        return plant

    def replacing(old: bytes, new: bytes, most: int = -1) -> Callable[[bytearray, Bundle], None]:
        def change(data: bytearray, _: Bundle) -> None:
            data[:] = bytes(data).replace(old, new, most)

        return change

    def numbers(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[bytearray, Bundle], None]:
        def edit(data: bytearray, bundle: Bundle) -> None:
            model = onnx.load(bundle.path(bundle.contract.files.onnx))
            values = next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == name)
            stored = values.transpose(2, 3, 1, 0) if values.ndim == 4 else values
            old, new = (np.ascontiguousarray(v, "<f4").tobytes() for v in (stored, change(stored.copy())))
            data[:] = bytes(data).replace(old, new)

        return edit

    def ints(values: list[int], others: list[int]) -> Callable[[bytearray, Bundle], None]:
        old, new = (np.array(v, "<u4").tobytes() for v in (values, others))

        def edit(data: bytearray, _: Bundle) -> None:
            member = read_members(memoryview(bytes(data)))["model.params.bin"]
            start = bytes(data).index(bytes(member[:64]))
            at = bytes(data).rindex(old, start)
            data[at : at + len(old)] = new

        return edit

    point2, point1 = np.float32(0.2).tobytes(), np.float32(0.1).tobytes()
    yield Fault("dlc v4", "all slopes 0.1", v4(replacing(point2, point1)))
    yield Fault("dlc v4", "one slope 0.1", v4(replacing(point2, point1, 1)))
    yield Fault("dlc v4", "a bias dropped", v4(numbers("block0_conv2.bias", lambda v: v * 0)))
    yield Fault("dlc v4", "one weight off in its last bit", v4(numbers("head.bias", lambda v: np.nextafter(v, 9))))
    yield Fault("dlc v4", "a turn back to NHWC in place of NCHW", v4(ints([0, 3, 1, 2], [0, 2, 3, 1])))
    yield Fault("dlc v4", "padding moved by one pixel", v4(ints([1, 1, 1, 1], [0, 2, 1, 1])))
    yield Fault("dlc v4", "a layer's name in place of another", v4(replacing(b"block1_act1", b"block0_act1", 1)))

    def v3(change: Callable[[onnx.ModelProto], None] = lambda model: None, **settings: Any) -> Callable[[Bundle], Any]:
        def plant(bundle: Bundle) -> dict[str, Any]:
            model = onnx.load(bundle.path(bundle.contract.files.onnx))
            change(model)
            data = dlc_writer.v3(model)
            for old, new in settings.get("replace", ()):
                assert old in data
                data = data.replace(old, new)
            bundle.path(bundle.contract.files.dlc).write_bytes(data)
            return {"dlc": replace(bundle.contract.dlc, container=3, layout=settings.get("layout", "NHWC"))}

        return plant

    def halve(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == "head.weight")
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) / 2, "head.weight"))

    def rewire(model: onnx.ModelProto) -> None:
        adds = [node for node in model.graph.node if node.op_type == "Add"]
        adds[-1].input[1] = adds[-1].input[0]

    yield Fault("dlc v3", "all slopes 0.1", v3(replace=[(point2, point1)]))
    yield Fault("dlc v3", "the head's weights halved", v3(halve))
    yield Fault("dlc v3", "a skip connection led elsewhere", v3(rewire))
    yield Fault("dlc v3", "avatar.json says NCHW", v3(layout="NCHW"))


def tflite_faults() -> Iterator[Fault]:
    def written(change: Callable[[FoldedGenerator], FoldedGenerator], half: bool = False) -> Callable[[Bundle], Any]:
        """The file of a changed network, with the right one's metadata."""

        def plant(bundle: Bundle) -> dict[str, Any]:
            subject, files = subject_of(bundle), bundle.contract.files
            path = bundle.path(files.tflite_fp16 if half else files.tflite)
            storage = "float16" if half else "float32"
            path.write_bytes(build_tflite(change(subject.own), read_tflite(path).metadata, storage))
            return {}

        return plant

    def replacing(name: str, field: str, change: Callable[[Any], Any]) -> Callable[[FoldedGenerator], FoldedGenerator]:
        def changed(generator: FoldedGenerator) -> FoldedGenerator:
            layers = [
                replace(layer, **{field: change(getattr(layer, field))}) if layer.name == name else layer
                for layer in generator.layers
            ]
            return replace(generator, layers=tuple(layers))

        return changed

    def renamed(bundle: Bundle) -> dict[str, Any]:
        path = bundle.path(bundle.contract.files.tflite)
        path.write_bytes(build_tflite(subject_of(bundle).own, {"avatar": "0" * 32}))
        return {}

    def swapped(bundle: Bundle) -> dict[str, Any]:
        files = bundle.contract.files
        bundle.path(files.tflite).write_bytes(bundle.path(files.tflite_fp16).read_bytes())
        return {}

    def last_bit(values: np.ndarray) -> np.ndarray:
        return np.nextafter(values.astype(np.float32), np.float32(9)).astype(np.float64)

    yield Fault("tflite", "one slope 0.1", written(replacing("block0_act1", "slope", lambda slope: 0.1)))
    yield Fault("tflite", "a bias dropped", written(replacing("block0_conv2", "bias", lambda bias: bias * 0)))
    yield Fault("tflite", "one bias off in its last bit", written(replacing("head", "bias", last_bit)))
    yield Fault("tflite", "padding moved by one pixel", written(replacing("head", "pads", lambda pads: (0, 0, 2, 2))))
    yield Fault("tflite", "a skip led elsewhere", written(replacing("block1_out", "inputs", lambda i: (i[0], i[0]))))
    yield Fault("tflite", "another avatar's", renamed)
    yield Fault("tflite", "FP16 in place of float32", swapped)
    halved = replacing("block1_conv1", "weight", lambda weight: weight / 2)
    yield Fault("tflite in FP16", "a layer's weights halved", written(halved, half=True))


def texture_faults() -> Iterator[Fault]:
    def changing(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Bundle], dict[str, Any]]:
        def plant(bundle: Bundle) -> dict[str, Any]:
            path = bundle.path(bundle.contract.files.texture)
            inner = load_file(path)["texture"][1:-2, 1:-2, :3].transpose(2, 0, 1)
            save_file({"texture": pack_texture(np.ascontiguousarray(change(inner)))}, path)
            return {}

        return plant

    def noise(planes: np.ndarray) -> np.ndarray:
        return np.random.default_rng(9).uniform(-1, 1, planes.shape).astype(np.float32)

    yield Fault("texture", "height and width swapped", changing(lambda t: t.transpose(0, 2, 1)))
    yield Fault("texture", "red and blue swapped", changing(lambda t: t[::-1]))
    yield Fault("texture", "upside down", changing(lambda t: t[:, ::-1]))
    yield Fault("texture", "moved by one texel", changing(lambda t: np.roll(t, 1, axis=2)))
    yield Fault("texture", "2 % darker", changing(lambda t: t * np.float32(0.98)))
    yield Fault("texture", "another avatar's", changing(noise))


def json_faults() -> Iterator[Fault]:
    def outputs(name: str, **changes: Any) -> Callable[[Bundle], dict[str, Any]]:
        def plant(bundle: Bundle) -> dict[str, Any]:
            found = bundle.contract.outputs
            return {"outputs": replace(found, **{name: replace(getattr(found, name), **changes)})}

        return plant

    def order(bundle: Bundle) -> dict[str, Any]:
        uv, lf = bundle.contract.outputs.delta_uv, bundle.contract.outputs.lf_rgb
        moved = {"delta_uv": replace(uv, start=lf.start, stop=lf.start + 2)}
        return {"outputs": replace(bundle.contract.outputs, **moved)}

    def pose(bundle: Bundle) -> dict[str, Any]:
        source = bundle.contract.source
        return {"source": replace(source, pose=[number + 0.01 for number in source.pose])}

    def claim(bundle: Bundle) -> dict[str, Any]:
        found = bundle.contract.verification
        return {"verification": replace(found, verified=True, psnr_db={"lf_rgb": 190.0}, hybrid_frame_db=120.0)}

    def layout(bundle: Bundle) -> dict[str, Any]:
        return {"dlc": replace(bundle.contract.dlc, layout="NHWC")}

    yield Fault("json", "align_corners inverted", lambda b: {"align_corners": not b.contract.align_corners})
    yield Fault("json", "the layout of the .dlc's outputs", layout)
    yield Fault("json", "the scale of lf_rgb", outputs("lf_rgb", scale=1.1))
    yield Fault("json", "the offset of lf_rgb", outputs("lf_rgb", offset=0.02))
    yield Fault("json", "the offset of delta_uv", outputs("delta_uv", offset=0.01))
    yield Fault("json", "the scale of seg", outputs("seg", scale=1.0))
    yield Fault("json", "the order of the channels", order)
    yield Fault("json", "no mask", lambda b: {"outputs": replace(b.contract.outputs, seg=None)})
    yield Fault("json", "the source's pose", pose)
    yield Fault("json", "numbers that were never measured", claim)
    yield Fault("json", "another width of the pose", lambda b: {"input": replace(b.contract.input, width=138)})
    yield Fault("json", "another size of the frame", lambda b: {"frame_size": 2 * b.contract.frame_size})
    yield Fault("json", "another size of the texture", lambda b: {"texture_size": 2 * b.contract.texture_size})
    yield Fault("json", "another size", lambda b: {"image_size": 2 * b.contract.image_size})


FAULTS = [*onnx_faults(), *dlc_faults(), *tflite_faults(), *texture_faults(), *json_faults()]
MADE = {"target": "qairt", "also": ("tflite", "tflite-fp16")}  # how the bundle is exported


def told(folder: Path, bundle: Bundle, with_photo: bool) -> list[str]:
    """What breaks: `step: what it says`; empty where the fault is missed."""
    try:
        subject, truth = subject_of(bundle), None
        if with_photo:
            trained = make_trained(subject, source_of(folder))
            subject, truth = trained.subject, ExactTrained.of(trained)
        ladder = climb(subject, [OnnxRung(subject), open_dlc(subject), EmulatedRung(subject, "hybrid")], truth=truth)
    except BilayerError as error:
        return [f"reading: {error}"]
    return ladder.failures


def planted(made: Bundle, fault: Fault, place: Path) -> Bundle | str:
    """A copy of a right bundle with the fault in it; what reading it says where that refuses it."""
    wrong = copied(made, place)
    changes = fault.plant(wrong)
    try:
        return rewritten(wrong, **changes)
    except BilayerError as error:
        return str(error)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = export_tiny(folder, **MADE)
        lines = ["| file | fault | told by | with the photo |", "|---|---|---|---|"]
        for i, fault in enumerate(FAULTS):
            bundle = planted(made, fault, folder / str(i))
            found = (
                [[f"reading: {bundle}"]] * 2
                if isinstance(bundle, str)
                else [told(folder, bundle, photo) for photo in (False, True)]
            )
            steps = [", ".join(dict.fromkeys(line.partition(":")[0] for line in each)) or "**no**" for each in found]
            lines.append(f"| {fault.file} | {fault.name} | {steps[0]} | {steps[1]} |")
            print(fault.name, [each[:1] for each in found], file=sys.stderr)
        print("\n".join(lines))


if __name__ == "__main__":
    main()
