"""A picture sheet: what a model was given, its layers, and what it made of them, a row per identity."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bilayer.model.avatar import create_avatar
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.render import Rendering
from bilayer.runtime.arrays import Bytes
from bilayer.runtime.face.stickman import draw_stickman
from bilayer.runtime.files.writing import write_file
from bilayer.runtime.media.captioned_grid import captioned_grid
from bilayer.runtime.media.writers import on_white
from bilayer.training.data.dataset import frame_batch
from bilayer.training.data.frame_folders import StoredFrame
from bilayer.training.evaluate.cases import EvaluationCase, scaled_landmarks
from bilayer.training.evaluate.models import REFINED, evaluating, refinements
from bilayer.training.metrics.meter import to_bytes
from bilayer.training.prediction import source_of


def draw_sheet(model: BilayerModel, cases: Sequence[EvaluationCase]) -> Image.Image:
    """Draw a row per case: source, target, pose, texture, low-frequency layer, result; with the updater too, if any.

    The target is the one whose landmarks are farthest from the source's: the hardest. Source and target stand on
    white by their masks, results by the predicted one. Pictures are S px, as the model makes them.
    """
    rows = [draw_row(model, case) for case in cases]
    font_size = min(12, max(6, model.config.image_size // 10))
    return captioned_grid([list(row.values()) for row in rows], [list(rows[0])], font_size=font_size)


def draw_row(model: BilayerModel, case: EvaluationCase) -> dict[str, Bytes]:
    """Draw the pictures (S, S, 3) of one case, by their captions."""
    target = hardest_target(case)
    device = next(model.parameters()).device
    thickness = model.config.stickmen_thickness
    source = source_of(frame_batch([case.source], thickness).to(device))
    pose = frame_batch([target], thickness).to(device).poses[0]
    with evaluating(model):
        avatar = create_avatar(model, source, "none")
        plain = avatar.render(model, pose)
        row = {
            "source": on_white(np.dstack([case.source.image, case.source.mask])),
            "target": on_white(np.dstack([target.image, target.mask])),
            "pose": draw_stickman(pose[0].cpu().numpy(), model.config.image_size, thickness),
            "texture": to_bytes(avatar.texture)[0],
            "low-frequency": to_bytes(plain.lf_rgb)[0],
            "result": _shown(plain),
        }
        for refine in refinements(model)[1:]:
            refined = create_avatar(model, source, refine)
            row[f"texture {REFINED[refine]}"] = to_bytes(refined.texture)[0]
            row[f"result {REFINED[refine]}"] = _shown(refined.render(model, pose))
    return row


def hardest_target(case: EvaluationCase) -> StoredFrame:
    """Return the target whose landmarks lie farthest from the source's in the mean; of equals the first."""
    start = scaled_landmarks(case.source)
    moves = [np.linalg.norm(scaled_landmarks(target) - start, axis=1).mean() for target in case.targets]
    return case.targets[int(np.argmax(moves))]


def save_png(path: Path, sheet: Image.Image) -> None:
    """Write a sheet of pictures as a PNG, whole or not at all, or raise an OutputError where it cannot be written."""
    write_file(path, lambda part: sheet.save(part, format="PNG"))


def _shown(rendering: Rendering) -> Bytes:
    """A frame as an app shows it: on white by the predicted mask."""
    picture: Bytes = to_bytes(rendering.image)[0]
    if rendering.seg_logits is None:
        return picture
    mask = torch.sigmoid(rendering.seg_logits.float())[0, 0].cpu().numpy()
    return on_white(np.dstack([picture, np.rint(mask * 255).astype(np.uint8)]))
