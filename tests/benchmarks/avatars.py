"""A tiny avatar of the golden case, exported; and the same with a fault in it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper
from PIL import Image

from bilayer.benchmarks.parity.subject import open_subject
from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import export_avatar
from bilayer.model.checkpoint import read_checkpoint, save_checkpoint
from bilayer.runtime.bundle import Files, describe_file, read_bundle
from bilayer.runtime.motion.poses import choose_poses
from tests import golden

RUNS = golden.CASE_A / "runs"


def write_rough_checkpoint(path):
    """Case_a with a warp twelve times as steep: FP16's rounding moves it by more than the gate allows."""
    config, tensors = read_checkpoint(RUNS)
    tensors["inference_generator"]["gen_inf.heads.0.0.weight"] *= 12
    save_checkpoint(path, config, tensors)
    return path


def export_tiny(folder, **options):
    """The bundle of case_a, 64 px."""
    case = golden.load("case_a/preproc.npz")
    Image.fromarray(case["source_image"]).save(folder / "face.png")
    np.save(folder / "face.npy", case["source_landmarks"])
    out = folder / "avatar" / "avatar.dlc"
    out.parent.mkdir()
    source = source_of(folder)
    settings = {"target": "none", "refine": "none", "size": 64, "checkpoint": RUNS, **options}
    return export_avatar(ExportOptions(source.photo, out, landmarks=source.landmarks, mask=False, **settings)).bundle


def source_of(folder):
    return ExportOptions(folder / "face.png", checkpoint=RUNS, landmarks=folder / "face.npy", mask=False)


def subject_of(bundle, frames=2):
    return open_subject(bundle, choose_poses(bundle.contract.source.pose, frames))


def copied(bundle, folder):
    shutil.copytree(bundle.folder, folder)
    return read_bundle(folder)


def with_constants(bundle, change):
    """`change(constants)` alters the arrays of the bundle's ONNX in place; avatar.json goes along."""
    path = bundle.path(bundle.contract.files.onnx)
    model = onnx.load(path)
    arrays = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in model.graph.initializer}
    change(arrays)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(arrays[tensor.name], tensor.name))
    path.write_bytes(model.SerializeToString(deterministic=True))
    return rewritten(bundle)


def rewritten(bundle, **changes):
    """avatar.json written anew with these fields, and the hashes of the network's files."""
    named = vars(bundle.contract.files).items()
    files = Files(**{role: file and describe_file(bundle.path(file)) for role, file in named})
    contract = replace(bundle.contract, files=files, **changes)
    json_path = bundle.folder / "avatar.json"
    json_path.write_text(contract.to_json())
    assert json.loads(json_path.read_text())["format"]
    return read_bundle(bundle.folder)
