"""Four photos with a manifest, their exports one by one, and runs over them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from bilayer.export.bulk.items import find_items
from bilayer.export.bulk.run import export_many, plan_export
from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import export_avatar
from bilayer.runtime.jobs.run import Workers
from tests import golden

CASE = golden.load("case_a/preproc.npz")
USUAL = ExportOptions("", checkpoint=golden.CASE_A / "runs", target="none", mask=False)
NAMES = ("ann", "ben", "cleo", "dora")


def write_photos(photos):
    """Four photos of the golden face in other light, and a manifest of them with its landmarks."""
    photos.mkdir()
    np.save(photos / "face.npy", CASE["source_landmarks"])
    for number, name in enumerate(NAMES):
        light = (CASE["source_image"].astype(np.float32) * (1 - number / 10)).astype(np.uint8)
        Image.fromarray(light).save(photos / f"{name}.png")
    manifest(photos, NAMES)
    return photos


def manifest(photos, names, **more):
    rows = [{"photo": f"{name}.png", "landmarks": "face.npy", **more} for name in names]
    (photos / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(photos, out, workers=Workers(1), usual=USUAL, place="all.jsonl"):  # noqa: B008  # it does not change
    plan = plan_export(find_items(str(photos / place)), str(out), usual, workers, lambda: None)
    return export_many(plan, workers, lambda: None)


def start(photos, out, *more, environment=None):
    command = [sys.executable, "-m", "bilayer.export", photos / "all.jsonl", "--out", out]
    command += ["--checkpoint", USUAL.checkpoint, "--target", "none", "--no-mask", *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*map(str, command)], **pipes, text=True, env=environment)


def finish(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def files(avatar):
    return {path.name: path.read_bytes() for path in sorted(Path(avatar).iterdir())}


def singles(photos, out):
    """Each photo's avatar by an export of its own: its files by name."""
    found = {}
    for name in NAMES:
        photo, landmarks = photos / f"{name}.png", photos / "face.npy"
        place = out / name / "avatar.dlc"
        export_avatar(
            ExportOptions(photo, place, landmarks=landmarks, checkpoint=USUAL.checkpoint, target="none", mask=False)
        )
        found[name] = files(out / name)
    return found


def lines(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
