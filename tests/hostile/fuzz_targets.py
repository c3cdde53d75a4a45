"""What is fuzzed: each reader of a user's file, from bytes, with the seeds that it is fed changed ones of.

A target may raise a BilayerError, whose message is one short line; nothing else.
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from PIL import Image

from tests.hostile.families.tracks import GOOD, header, npy, npz
from tests.hostile.raw_safetensors import safetensors


@dataclass(frozen=True)
class Target:
    """A reader, and right inputs for it."""

    read: Callable[..., object]  # of a file's path
    seeds: Callable[..., Sequence[tuple[str, bytes]]]  # of Goods: the file's extension, and its content


def _track(path):
    from bilayer.runtime.motion.track_files import read_track

    read_track(path)


def _track_seeds(goods):
    text = json.dumps({"fps": 25, "landmarks": goods.track[:1].round(1).tolist()}).encode()
    packed = npz(compress=True, landmarks=goods.track[:1], fps=np.array(25.0))
    return [
        (".npy", npy(goods.track[:1])), (".npy", header(GOOD, bytes(2176))), (".json", text), (".npz", packed),
        (".npz", npz(landmarks=goods.track[:1], fps=np.array(25.0))),
    ]  # fmt: skip


def _landmarks(path):
    from bilayer.runtime.face.landmark_files import read_landmarks

    read_landmarks(path)


def _landmark_seeds(goods):
    points = np.load(goods.landmarks).round(1)
    rows = [f"{x} {y}" for x, y in points]
    return [
        (".npy", npy(points)), (".json", json.dumps({"landmarks": points.tolist()}).encode()),
        (".csv", "\n".join(rows).replace(" ", ",").encode()),
        (".pts", ("version: 1\nn_points: 68\n{\n" + "\n".join(rows) + "\n}\n").encode()),
    ]  # fmt: skip


def _photo(path):
    from bilayer.runtime.media.photo import read_photo

    read_photo(path)


def _photo_seeds(goods):
    picture = Image.open(goods.photo).convert("RGB").resize((24, 24))
    seeds = []
    for kind, mode in [("PNG", "RGB"), ("PNG", "P"), ("PNG", "LA"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("WEBP", "RGBA"),
                       ("TIFF", "RGB"), ("TIFF", "I;16"), ("GIF", "P"), ("BMP", "RGB")]:  # fmt: skip
        file = io.BytesIO()
        made = Image.fromarray(np.full((24, 24), 900, np.uint16)) if mode == "I;16" else picture.convert(mode)
        made.save(file, kind)
        seeds.append((".png", file.getvalue()))
    return seeds


def _video(path):
    from bilayer.runtime.media.video import VideoFrames

    with VideoFrames(path) as video:
        list(islice(video, 4))


def _video_seeds(goods):
    return [(".mp4", goods.video.read_bytes())]


def _pth(path):
    from bilayer.model.safe_load import read_pth

    read_pth(path)


def _pth_seeds(goods):
    import torch

    seeds = []
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save(
            {"a.weight": torch.ones(3, 2), "b": torch.zeros(4).half()}, file, _use_new_zipfile_serialization=zipped
        )
        seeds.append((".pth", file.getvalue()))
    return seeds


def _safetensors(path):
    from bilayer.model.checkpoint import read_checkpoint

    read_checkpoint(path, networks=())


def _safetensors_seeds(goods):
    from bilayer.model.config import ModelConfig

    inner = {"format": "bilayer-checkpoint", "version": 1, "config": ModelConfig().to_dict(), "networks": []}
    tensor = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    named = {"__metadata__": {"bilayer": json.dumps(inner)}, "texture_enhancer.a": tensor}
    return [(".safetensors", safetensors(named, bytes(16)))]


def _dlc(path):
    from bilayer.export.dlc.read import as_text, describe, read_dlc

    dlc = read_dlc(path)
    as_text(dlc)
    json.dumps(describe(dlc))


def _dlc_seeds(goods):
    return [(".dlc", content) for content in goods.dlcs.values()]


def _contract(path):
    from bilayer.runtime.bundle import AVATAR

    AVATAR.read(path).to_json()


def _contract_seeds(goods):
    return [(".json", json.dumps(goods.contract).encode())]


def _onnx(path):
    from bilayer.export.onnx_file import read_model
    from bilayer.export.targets import RULES, check_target

    model = read_model(path)
    for target in RULES:
        for finding in check_target(model, target):
            assert finding.describe().isprintable(), finding


def _onnx_seeds(goods):
    import onnx
    from onnx import helper

    from tests.hostile.families.onnx_models import ONE, constant, conv, graph

    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["a"], "up", kernel_shape=[1, 1], strides=[1, 1]),
        helper.make_node("BatchNormalization", ["a", "g", "b", "m", "v"], ["c"], "norm"),
        helper.make_node("LeakyRelu", ["c"], ["d"], alpha=0.2),
        helper.make_node("Tanh", ["d"], ["y"], "tanh"),
    ]
    norm = [constant(name, np.ones(4)) for name in "gbmv"]
    model = graph(nodes, [constant("w", ONE), *norm], outputs=[("y", (1, 4, 8, 8))])
    newer = onnx.ModelProto.FromString(model)
    newer.ir_version, newer.opset_import[0].version = 8, 17
    return [(".onnx", content) for content in (model, conv(ONE), newer.SerializeToString())]


def _settings(path):
    from bilayer.training.settings import read_settings

    read_settings(path, "base")


def _settings_seeds(goods):
    from tests.training.tiny import toml

    return [(".toml", toml(optimisation={"learning_rate": 0.001}).encode())]


def _result(path):
    from bilayer.android_harness.report.tables import make_report
    from bilayer.android_harness.results import read_result

    make_report([read_result(path)]).markdown()


def _result_seeds(goods):
    return [(".json", json.dumps(goods.result).encode())]


def _frame(path):
    import cv2

    from bilayer.training.data.frame_folders import read_array, read_picture

    if path.suffix == ".npy":
        read_array(path)
    else:
        read_picture(path, cv2.IMREAD_COLOR_RGB)


def _frame_seeds(goods):
    return [(suffix, content) for suffix, content in _photo_seeds(goods)[:5]] + _track_seeds(goods)[:2]


def _args(path):
    from bilayer.model.authors_checkpoint import make_config, read_args

    make_config(read_args(path), str(path))


def _args_seeds(goods):
    return [(".txt", (goods.runs / "tiny_enhancer" / "args.txt").read_bytes())]


TARGETS = {
    "track": Target(_track, _track_seeds),
    "landmarks": Target(_landmarks, _landmark_seeds),
    "photo": Target(_photo, _photo_seeds),
    "video": Target(_video, _video_seeds),
    "pth": Target(_pth, _pth_seeds),
    "safetensors": Target(_safetensors, _safetensors_seeds),
    "dlc": Target(_dlc, _dlc_seeds),
    "contract": Target(_contract, _contract_seeds),
    "onnx": Target(_onnx, _onnx_seeds),
    "settings": Target(_settings, _settings_seeds),
    "result": Target(_result, _result_seeds),
    "frame": Target(_frame, _frame_seeds),
    "args": Target(_args, _args_seeds),
}
