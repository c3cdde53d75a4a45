"""Fitted avatars with drawn lids in `bilayer-eval`: the frames that a player shows of an export."""

import numpy as np
import pytest
import torch

import bilayer
from bilayer.model.avatar import create_avatar
from bilayer.model.checkpoint import load_model
from bilayer.model.config import DEMO_CHECKPOINT
from bilayer.model.photo_source import shot_of, source_of_photo
from bilayer.runtime.face.expression import LID_PAIRS
from bilayer.runtime.player import AvatarPlayer
from bilayer.training.evaluate.drawn_lids import frames_with_lids
from bilayer.training.metrics.meter import to_bytes


def shut(pose, by):
    """The pose with the upper lids down by a part of the way."""
    points = np.array(pose, np.float32).reshape(68, 2)
    upper, lower = LID_PAIRS.T
    points[upper] += by * (points[lower] - points[upper])
    return points.ravel()


@pytest.mark.slow
def test_frames_are_those_of_a_player(tmp_path, astronaut_path, face_networks):
    bilayer.export_avatar(astronaut_path, tmp_path / "avatar", target="none", verify=False, size=256)
    player = AvatarPlayer.load(tmp_path / "avatar", engine="onnxruntime")
    model = load_model(DEMO_CHECKPOINT)
    portrait = source_of_photo(astronaut_path, model.config)
    avatar = create_avatar(model, portrait.source, shots=[shot_of(portrait, 256)])
    photo = portrait.source.poses
    poses = np.stack([shut(photo[0].numpy(), by) for by in (0, 1, 0.4, 0)])
    frames = to_bytes(frames_with_lids(model, avatar, photo, torch.from_numpy(poses)))
    for frame, pose in zip(frames, poses, strict=True):
        levels = np.abs(frame.astype(int) - player.render(pose)[..., :3])
        assert (levels > 2).mean() < 1e-3
    assert np.abs(frames[1].astype(int) - frames[0]).max() > 60  # shut
    assert np.array_equal(frames[3], frames[0])  # and open again
