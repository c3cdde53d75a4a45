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

from tests.hostile import fuzz_networks as nets
from tests.hostile.families.tracks import GOOD, header, npy, npz


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


def _contract(path):
    from bilayer.runtime.bundle import AVATAR

    AVATAR.read(path).to_json()


def _contract_seeds(goods):
    return [(".json", json.dumps(goods.contract).encode())]


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
    from bilayer.model.files.authors_checkpoint import make_config, read_args

    make_config(read_args(path), str(path))


def _args_seeds(goods):
    return [(".txt", (goods.runs / "tiny_enhancer" / "args.txt").read_bytes())]


def _manifest(path):
    from bilayer.export.bulk.items import find_items
    from bilayer.export.options import ExportOptions

    for item in find_items(str(path)):
        item.options(ExportOptions(""))


def _manifest_seeds(goods):
    table = (
        "photo,name,face,rotate,mask,refine,size,others,landmarks\n"
        "a.png,a/b,2,90,true,none,64,c.png;d.png,\nb.png,b,,,,,,c.png,k.npy\n"
    )
    row = {
        "photo": "s3://a/b.png",
        "name": "a",
        "others": ["c.png"],
        "landmarker": "mediapipe",
        "face": 1,
        "mask": False,
    }
    lines = json.dumps(row) + "\n" + json.dumps({"photo": "b.png"}) + "\n"
    return [(".csv", table.encode()), (".csv", b'photo\n"a ""1"".png"\n'), (".jsonl", lines.encode())]


def _form(path):
    """A request of HTTP: a line with its content type, one with its query, then its body."""
    import asyncio

    from starlette.requests import Request

    from bilayer.export.serve.request import RequestError, read_request

    kind, _, rest = path.read_bytes().partition(b"\n")
    query, _, body = rest.partition(b"\n")
    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind)], "query_string": query}
    parts = [{"type": "http.request", "body": piece, "more_body": bool(piece)} for piece in (body[:60], body[60:], b"")]

    async def receive():
        return parts.pop(0)

    told = []

    async def ask():
        try:
            await read_request(Request({**scope, "path": "/avatars"}, receive), 4096, 5)
        except RequestError as error:
            told.append(error)

    asyncio.run(ask())
    for error in told:
        assert 400 <= error.status < 500
        assert len(json.dumps(error.content)) < 1000


def _form_seeds(goods):
    part = b'--B\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    photo = part % (b"photo", b'; filename="a.png"\r\nContent-Type: image/png', b"\x89PNG\r\n--B-\r\n")
    fields = part % (b"face", b"", b"2") + part % (b"mask", b"", b"false")
    landmarks = part % (b"landmarks", b'; filename="k.csv"', b"1,2")
    whole = b"multipart/form-data; boundary=B\nrefine=none&size=64\n" + photo + fields + landmarks + b"--B--\r\n"
    return [("", whole), ("", b"image/png\nface=1&rotate=90&precision=fp16\n\x89PNG")]


def _log(path):
    """What a program on the phone has printed."""
    from bilayer.android_harness.routes.diagnostics import parse_profile
    from bilayer.android_harness.routes.executorch import ExecutorchBackend
    from bilayer.android_harness.routes.litert import LitertBackend

    if path.suffix == ".txt":
        parse_profile(path.read_bytes().decode("utf-8", "replace"), str(path))
        return
    backend = {".litert": LitertBackend, ".pte": ExecutorchBackend}[path.suffix]
    profile, _ = backend.read_log(None, path)
    assert np.isfinite(profile.total_us)


def _log_seeds(goods):
    litert = (
        b"INFO: Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.\n"
        b"INFO: Inference timings in us: Init: 12, First inference: 3e+03, Warmup (avg): 2.5, Inference (avg): 2.1\n"
    )
    executorch = b"I 00:00:00 Model loaded in 5.5 ms.\nI 00:00:00 Model executed successfully 8 time(s) in 41.2 ms.\n"
    viewer = b"Dsp Software library version: 1.2\nTotal Inference Time: 41.5 us\nLayer Times:\n0 (conv): 12 us : GPU\n"
    table = b'"Total Inference Time","a","41.5"\n"conv:0","a","12.5","us","GPU"\n'
    qnn = b"Execute Stats (Average):\nNetRun: 41 us\nBackend (QNN (execute) time): 40 us\nconv:OpId_3 (us): 7 us\n"
    texts = [(".txt", content) for content in (viewer, table, qnn)]
    return [(".litert", litert), (".pte", executorch), *texts]


def _sound(path):
    from bilayer.runtime.media.sound import open_sound
    from bilayer.runtime.media.writers import open_writer

    picture = np.zeros((32, 32, 4), np.uint8)
    with open_sound(path) as sound, open_writer(path.with_suffix(".out.mp4"), 25.0, sound) as writer:
        for _ in range(25):
            writer.write(picture)


def _sound_seeds(goods):
    from tests.runtime.test_sound import video_with_sound

    made = [
        video_with_sound(goods.folder / f"sound{end}", codec) for end, codec in ((".mp4", "aac"), (".mkv", "pcm_s16le"))
    ]
    return [(path.suffix, path.read_bytes()) for path in made]


TARGETS = {
    "track": Target(_track, _track_seeds),
    "landmarks": Target(_landmarks, _landmark_seeds),
    "photo": Target(_photo, _photo_seeds),
    "video": Target(_video, _video_seeds),
    "pth": Target(nets.read_pth, nets.pth_seeds),
    "safetensors": Target(nets.read_safetensors, nets.safetensors_seeds),
    "dlc": Target(nets.read_dlc, nets.dlc_seeds),
    "contract": Target(_contract, _contract_seeds),
    "onnx": Target(nets.read_onnx, nets.onnx_seeds),
    "settings": Target(_settings, _settings_seeds),
    "result": Target(_result, _result_seeds),
    "frame": Target(_frame, _frame_seeds),
    "args": Target(_args, _args_seeds),
    "tflite": Target(nets.read_tflite, nets.tflite_seeds),
    "integers": Target(nets.read_integers, nets.integers_seeds),
    "manifest": Target(_manifest, _manifest_seeds),
    "form": Target(_form, _form_seeds),
    "log": Target(_log, _log_seeds),
    "sound": Target(_sound, _sound_seeds),
}
