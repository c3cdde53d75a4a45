"""An avatar whose frames are larger or smaller than what its network computes."""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample, interpolate

from bilayer.runtime.errors import BundleError, InputError
from bilayer.runtime.player import AvatarPlayer
from tests import golden
from tests.runtime.conftest import POSES, export


@pytest.fixture(scope="module", params=[(96, False), (128, True)], ids=["1.5", "2 align_corners"])
def enlarged(request, tmp_path_factory):
    """The tiny published model of 64 px, drawn at 96 or 128."""
    size, align_corners = request.param
    folder = tmp_path_factory.mktemp("enlarged")
    return export(folder, golden.CASE_A / "runs", align_corners=align_corners, size=size), size, align_corners


def enlarged_frame(exported, size, align_corners, pose):
    """(F, F, 4) of the trained model in torch: its results, and its texture, enlarged."""

    def up(planes, corners=False):
        return interpolate(planes.double(), size=(size, size), mode="bilinear", align_corners=corners)

    shown = exported.rendering(pose)
    centres = (2 * torch.arange(64) + 1) / 64 - 1
    delta = shown.uv - torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)
    centres = (2 * torch.arange(size).double() + 1) / size - 1
    uv = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1) + up(delta.permute(0, 3, 1, 2)).permute(
        0, 2, 3, 1
    )
    image = up(shown.lf_rgb) + grid_sample(up(exported.avatar.texture, align_corners), uv, align_corners=align_corners)
    alpha = (up(torch.sigmoid(shown.seg_logits)) * 255).round()
    colours = (image.clamp(-1, 1) + 1) / 2 * 255
    return torch.cat([colours, alpha], dim=1)[0].permute(1, 2, 0).to(torch.uint8).numpy()


def test_frames_are_the_trained_models_enlarged(enlarged):
    exported, size, align_corners = enlarged
    avatar = AvatarPlayer.load(exported.folder, threads=1)
    contract = json.loads((exported.folder / "avatar.json").read_text())
    assert [contract[name] for name in ("image_size", "texture_size", "frame_size")] == [64, size, size]
    assert avatar.size == size
    for pose in POSES:
        frame = avatar.render(pose)
        expected = enlarged_frame(exported, size, align_corners, pose)
        assert np.ptp(expected[..., :3]) > 50
        assert frame.shape == (size, size, 4)
        assert np.mean(np.abs(frame.astype(int) - expected) <= 1) >= 0.999


def test_layers_have_the_frames_size_and_make_the_frame(enlarged):
    exported, size, _ = enlarged
    avatar = AvatarPlayer.load(exported.folder, threads=1)
    frame, layers = avatar.render(POSES[1]), avatar.layers()
    assert [array.shape for array in (layers.uv, layers.lf, layers.hf, layers.mask)] == [
        (size, size, 2), (3, size, size), (3, size, size), (size, size)
    ]  # fmt: skip
    colours = ((layers.lf + layers.hf).clip(-1, 1) + 1) * 127.5
    made = np.concatenate([np.floor(colours), np.rint(layers.mask[None] * 255)]).transpose(1, 2, 0)
    assert np.abs(made - frame).max() <= 1


def test_a_batch_and_a_background_have_it_too(enlarged):
    exported, size, _ = enlarged
    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    avatar = AvatarPlayer.load(exported.folder, threads=1, background=picture)
    batch = avatar.render_batch(POSES)
    assert batch.shape == (len(POSES), size, size, 4)
    assert (batch[..., 3] == 255).all()


def test_an_avatar_of_before_there_was_a_frame_size_plays_on_as_it_did(editable):
    """Without the keys, and with keys that say the same."""
    folder = editable(lambda contract: None)
    before = AvatarPlayer.load(folder, threads=1).render_batch(POSES)
    assert before.shape == (3, 64, 64, 4)
    editable(lambda contract: contract.update(frame_size=64, texture_size=64))
    np.testing.assert_array_equal(AvatarPlayer.load(folder, threads=1).render_batch(POSES), before)


def test_any_bundle_can_be_played_at_another_size(editable):
    folder = editable(lambda contract: None)
    asked = AvatarPlayer.load(folder, threads=1, size=128).render(POSES[0])
    assert asked.shape == (128, 128, 4)
    editable(lambda contract: contract.update(frame_size=128))
    np.testing.assert_array_equal(AvatarPlayer.load(folder, threads=1).render(POSES[0]), asked)
    with pytest.raises(InputError, match="size: expected 1 to 16384 pixels, found 0"):
        AvatarPlayer.load(folder, size=0)


def test_a_texture_of_another_size_than_the_contracts_is_refused(editable):
    folder = editable(lambda contract: contract.update(texture_size=128))
    with pytest.raises(BundleError, match=r"expected texture F32 \[131, 131, 4\], found .* \[67, 67, 4\]") as caught:
        AvatarPlayer.load(folder)
    assert "\n" not in str(caught.value)
