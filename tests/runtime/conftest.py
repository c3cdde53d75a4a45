"""Bundles of tiny models, exported as a user exports them, and what the trained models render."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import export_avatar
from bilayer.model import create_avatar, load_model, make_source
from bilayer.model.checkpoint import save_checkpoint
from bilayer.model.config import AVATAR_NETWORKS
from bilayer.model.networks.bilayer import BilayerModel, random_model
from bilayer.runtime import crop_face
from bilayer.runtime.bundle import describe_file
from tests import golden
from tests.model.test_networks import TINY

CASE = golden.load("case_a/preproc.npz")
POSES = np.concatenate([CASE["target_poses"][0], CASE["source_poses"][0]])  # (3, 136)


@dataclass(frozen=True)
class Exported:
    """A bundle, and the model and avatar it was made from."""

    folder: Path
    model: BilayerModel
    avatar: Any

    def rendering(self, pose):
        return self.avatar.render(self.model, torch.from_numpy(np.asarray(pose, np.float32))[None])


def export(folder, checkpoint, **options):
    """The bundle of the golden photo, exported into a folder that is empty."""
    write_export(folder, checkpoint, **options)
    return exported_in(folder, checkpoint, **options)


def write_export(folder, checkpoint, **options):
    Image.fromarray(CASE["source_image"]).save(folder / "face.png")
    np.save(folder / "face.npy", CASE["source_landmarks"])
    (folder / "bundle").mkdir()
    chosen = ExportOptions(
        folder / "face.png", folder / "bundle" / "avatar.dlc", target="none", checkpoint=checkpoint,
        landmarks=folder / "face.npy", mask=False, also=("tflite", "tflite-fp16"), **options,
    )  # fmt: skip
    size, refine = as_published(load_model(checkpoint))
    export_avatar(replace(chosen, size=chosen.size or size, refine=refine))


def as_published(model):
    """Size and refinement: not fitted, nor as large."""
    return model.config.image_size, "updater" if "texture_enhancer" in model.networks else "none"


def exported_in(folder, checkpoint, **options):
    """What `write_export` wrote there, and its model, loaded anew."""
    overrides = {key: value for key, value in options.items() if key == "align_corners"}
    model = load_model(checkpoint, overrides=overrides)
    size, refine = as_published(model)
    source = make_source(crop_face(CASE["source_image"], CASE["source_landmarks"], size), model.config)
    return Exported(folder / "bundle", model, create_avatar(model, source, refine))


@pytest.fixture(scope="session", params=[False, True], ids=["edges", "align_corners"])
def exported(request, once_for_all):
    """The tiny published model's avatar, under either meaning of the warp's coordinates."""
    runs, name = golden.CASE_A / "runs", f"published{request.param}"
    folder = once_for_all(name, lambda place: write_export(place, runs, align_corners=request.param))
    return exported_in(folder, runs, align_corners=request.param)


@pytest.fixture(scope="session", params=["harmonic", "three-heads", "no-mask"])
def unusual(request, once_for_all):
    """Avatars of random models whose contracts differ from the usual one."""
    merged = {"merged_head": request.param != "three-heads"}

    def make(folder):
        write_random(folder / "model.safetensors", request.param)
        write_export(folder, folder / "model.safetensors", **merged)

    folder = once_for_all(request.param, make)
    return exported_in(folder, folder / "model.safetensors", **merged)


def write_random(path, kind):
    settings = {"harmonic": {"pse_use_harmonic_enc": True}, "no-mask": {"inf_pred_segmentation": False}}
    config = replace(TINY, **settings.get(kind, {}))
    model = random_model(config, 0, AVATAR_NETWORKS)
    tensors = {name: model.get_submodule(name).state_dict() for name in AVATAR_NETWORKS}
    save_checkpoint(path, config, tensors)


@pytest.fixture(scope="session")
def bundle_folder(once_for_all):
    """One usual bundle, of all test processes: not to be changed."""
    return usual_bundle(once_for_all)


def usual_bundle(once_for_all):
    return once_for_all("usual", lambda place: write_export(place, golden.CASE_A / "runs")) / "bundle"


def only_onnx(bundle):
    """The bundle as it were without its .tflite."""
    contract = bundle.contract
    return replace(bundle, contract=replace(contract, files=replace(contract.files, tflite=None, tflite_fp16=None)))


@pytest.fixture
def editable(bundle_folder, tmp_path):
    """A copy of it, and a function that changes its contract and then makes the hashes fit again."""
    folder = tmp_path / "edited"
    shutil.copytree(bundle_folder, folder)

    def edit(change):
        path = folder / "avatar.json"
        contract = json.loads(path.read_text())
        change(contract)
        for file in contract["files"].values():
            if file:
                found = describe_file(folder / file["name"])
                file |= {"bytes": found.bytes, "sha256": found.sha256}
        path.write_text(json.dumps(contract))
        return folder

    return edit
