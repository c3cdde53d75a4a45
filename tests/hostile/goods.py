"""Right inputs of every kind, each made once when first asked for; hostile ones are made of them."""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from tests import golden
from tests.runtime.conftest import CASE, export


class Goods:
    """Files in a folder of its own, which nobody changes."""

    def __init__(self, folder):
        self.folder = Path(folder)

    @cached_property
    def bundle(self):
        return export(self.folder, golden.CASE_A / "runs").folder

    @cached_property
    def runs(self):
        return golden.CASE_A / "runs"

    @cached_property
    def checkpoint(self):
        from bilayer.model.checkpoint import read_checkpoint, save_checkpoint

        path = self.folder / "model.safetensors"
        save_checkpoint(path, *read_checkpoint(self.runs))
        return path

    @cached_property
    def photo(self):
        path = self.folder / "photo.png"
        Image.fromarray(CASE["source_image"]).save(path)
        return path

    @cached_property
    def landmarks(self):
        path = self.folder / "landmarks.npy"
        np.save(path, CASE["source_landmarks"])
        return path

    @cached_property
    def track(self):
        return np.concatenate([CASE["target_landmarks"], CASE["target_landmarks"] + 3])  # (4, 68, 2) px

    @cached_property
    def video(self):
        from bilayer.runtime.media.writers import open_writer

        path = self.folder / "good.mp4"
        picture = np.dstack([CASE["source_image"], np.full(CASE["source_image"].shape[:2], 255, np.uint8)])
        with open_writer(path, 25.0) as writer:
            for step in range(8):
                writer.write(np.roll(picture, step, axis=1))
        return path

    @cached_property
    def onnx(self):
        return self.bundle / "avatar.onnx"

    @cached_property
    def contract(self):
        return json.loads((self.bundle / "avatar.json").read_text())

    @cached_property
    def result(self):
        from bilayer.android_harness.results import RESULT
        from tests.android_harness.made_results import make, make_sampler

        return RESULT.to_dict(make(sampler=make_sampler()))

    @cached_property
    def data(self):
        """A folder of training data: 64 px, three people to train on, one held out."""
        from tests.training.written_frames import write_data

        root = self.folder / "data"
        write_data(root, sequences=3, frames=3, size=64, coords=True)
        write_data(root, sequences=1, frames=3, size=64, coords=True, split="test")
        return root

    @cached_property
    def dlcs(self):
        """Bytes of .dlc files by the kind of their container."""
        from tests.export import dlc_writer, networks

        model = networks.avatar_like()
        return {
            "v3": dlc_writer.v3(model),
            "v4 inline": dlc_writer.v4(model, "inline"),
            "v4 NR64": dlc_writer.v4(model, "NR64"),
        }
