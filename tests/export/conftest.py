import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import export_avatar
from bilayer.model import create_avatar, load_model, make_source, random_model
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.runtime import crop_face
from tests import golden
from tests.export.exporting import CASE, RUNS
from tests.model.test_networks import TINY


@pytest.fixture(scope="session")
def case_a_avatar():
    """The tiny published model and the avatar of its golden photo."""
    model = load_model(golden.CASE_A / "runs")
    case = golden.load("case_a/preproc.npz")
    crop = crop_face(case["source_image"], case["source_landmarks"], 64)
    source = make_source(crop, model.config, case["source_segs"][0, 0, 0])
    return model, create_avatar(model, source), crop


@pytest.fixture(scope="session")
def tiny_predicted():
    """Model and parameters of a random tiny generator, by its changed settings; in float64."""

    def make(seed=0, **settings):
        from dataclasses import replace

        config = replace(TINY, **settings)
        model = random_model(config, seed, ("keypoints_embedder", "inference_generator")).double()
        generator = torch.Generator().manual_seed(seed)
        embeddings = [torch.randn(2, c, 8, 8, generator=generator).double() for c in config.texture_channels[1:]]
        with torch.inference_mode():
            return model, model.inference_generator.predict_parameters(embeddings)

    return make


def reference(model: BilayerModel, parameters, poses, avatar=0):
    """Layers of one avatar by the trained model, as it stands."""
    one = parameters.map(lambda tensor: tensor[avatar : avatar + 1])
    with torch.inference_mode():
        return model.inference_generator(model.keypoints_embedder(poses), one.repeat_frames(len(poses)))


@pytest.fixture
def photo(tmp_path):
    """The golden photo and its landmarks: no detector, and a tiny published model, so that an export takes a second."""
    Image.fromarray(CASE["source_image"]).save(tmp_path / "face.png")
    np.save(tmp_path / "face.npy", CASE["source_landmarks"])
    return tmp_path / "face.png"


@pytest.fixture(scope="session")
def exported_once(once_for_all):
    def make(folder):
        Image.fromarray(CASE["source_image"]).save(folder / "face.png")
        np.save(folder / "face.npy", CASE["source_landmarks"])
        options = ExportOptions(folder / "face.png", folder / "out", "none", RUNS, folder / "face.npy", mask=False)
        export_avatar(options)

    return once_for_all("earlier", make) / "out"


@pytest.fixture
def earlier(exported_once, tmp_path):
    """Where an avatar lies that a failed export must leave alone."""
    shutil.copytree(exported_once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "avatar.dlc"
