"""Frames come off the disk as the networks take them, each as often, in an order that the seed alone decides."""

import itertools
from contextlib import closing

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from bilayer.runtime.errors import InputError
from bilayer.runtime.face.stickman import draw_stickman
from bilayer.training.data.batches import endless_draws, training_batches
from bilayer.training.data.dataset import FramePairs, collate, sequence_frames
from bilayer.training.data.layout import list_sequences
from bilayer.training.data.stored_pairs import draw_frames
from bilayer.training.processes import Process
from tests.training.written_frames import SIZE, assert_same, frame_of, write_data, write_frame


def test_a_frame_is_preprocessed_as_published(tmp_path):
    written = write_data(tmp_path, 1, 1, coords=True)[0, 0]
    (frame,) = sequence_frames(list_sequences(tmp_path, "train")[0], SIZE, 2)
    pose = (written["keypoints"] / SIZE - 0.5) * 2
    np.testing.assert_allclose(frame.poses[0, 0].view(68, 2), pose, atol=1e-6)
    np.testing.assert_allclose(frame.images[0, 0], written["imgs"].transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(frame.masks[0, 0, 0], written["segs"] / 255, atol=1e-6)
    stickman = draw_stickman(pose.reshape(136), SIZE, 2)
    np.testing.assert_allclose(frame.stickmen[0, 0], stickman.transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(frame.coords[0, 0], written["coords"].astype(np.float32))
    assert {tensor.dtype for tensor in vars(frame).values()} == {torch.float32}


@pytest.mark.parametrize("thickness", [1, 2])
def test_the_shapes_are_what_the_trainer_is_promised(tmp_path, thickness):
    write_data(tmp_path, 3, 6, coords=True)
    data = FramePairs(tmp_path, "train", 16, thickness, source_frames=2, target_frames=3)
    batch = collate([data[i] for i in range(3)])
    for part, count in ((batch.source, 2), (batch.target, 3)):
        assert part.images.shape == part.stickmen.shape == (3, count, 3, 16, 16)
        assert part.poses.shape == (3, count, 136)
        assert part.masks.shape == (3, count, 1, 16, 16)
        assert part.coords.shape == (3, count, 16, 16, 2)
    assert (len(data), data.has_masks, data.has_coords) == (3, True, True)
    assert_same(batch.to("cpu"), batch)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32))
def test_no_frame_comes_twice_before_all_came_once(count, wanted, seed):
    drawn = draw_frames(np.random.default_rng(seed), count, wanted)
    assert drawn.shape == (wanted,)
    assert set(drawn) <= set(range(count))
    times = np.bincount(drawn, minlength=count)
    assert times.max() - times.min() <= 1
    assert times.max() == -(-wanted // count)


def test_source_and_target_differ_and_every_frame_comes(tmp_path):
    written = write_data(tmp_path, 2, 4)
    data = FramePairs(tmp_path, "train", SIZE, 1, source_frames=1, target_frames=2)
    pairs = set()
    for epoch in range(120):
        data.set_epoch(epoch)
        for i in range(2):
            item = data[i]
            shown = [frame_of(written, i, image) for image in (*item.source.images[0], *item.target.images[0])]
            assert len(set(shown)) == 3
            pairs.add((i, *shown[:2]))
    assert len(pairs) == 2 * 4 * 3  # all ordered pairs of different frames


def test_the_draw_is_the_same_in_every_run_and_another_one_in_each_pass(tmp_path):
    write_data(tmp_path, 4, 6)
    options = {"batch_size": 2, "collate_fn": collate}
    data = FramePairs(tmp_path, "train", 16, 1, seed=3, mirror=True)
    seen = []
    for epoch in range(3):
        data.set_epoch(epoch)
        seen.append(list(DataLoader(data, **options)))
    resumed = FramePairs(tmp_path, "train", 16, 1, seed=3, mirror=True)
    assert_same(resumed.draw(1, 3), data.draw(1, 3))
    assert_same(collate([resumed.draw(1, i) for i in (0, 1)]), seen[1][0])
    resumed.set_epoch(2)
    for a, b in zip(seen[2], DataLoader(resumed, **options), strict=True):
        assert_same(a, b)
    for other in (seen[1], list(DataLoader(FramePairs(tmp_path, "train", 16, 1, seed=4, mirror=True), **options))):
        assert any(not torch.equal(a.source.images, b.source.images) for a, b in zip(seen[0], other, strict=True))


def first_batches(data, count, workers, start=0):
    process = Process(rank=0, count=1, device=torch.device("cpu"))
    with closing(training_batches(data, 2, 7, process, workers, start)) as batches:
        return list(itertools.islice(batches, count))


@pytest.mark.parametrize("in_memory", [False, True])
def test_workers_bring_the_batches_of_a_run_without_them_from_any_iteration_on(tmp_path, in_memory):
    write_data(tmp_path, 5, 4, coords=True)
    options = {"seed": 3, "target_frames": 2, "mirror": True}
    alone = first_batches(FramePairs(tmp_path, "train", 16, 1, **options), 7, workers=0)
    data = FramePairs(tmp_path, "train", 16, 1, in_memory=in_memory, **options)
    for start, workers in ((0, 2), (3, 1), (1, 5)):
        for a, b in zip(alone[start:], first_batches(data, 7 - start, workers, start), strict=True):
            assert_same(a, b)


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_batch_is_its_items_joined(tmp_path, in_memory):
    write_data(tmp_path, 4, 6, coords=True)
    data = FramePairs(tmp_path, "train", 16, 1, mirror=True, in_memory=in_memory)
    process = Process(rank=0, count=1, device=torch.device("cpu"))
    for batch, draws in zip(first_batches(data, 6, workers=0), endless_draws(4, 2, 7, process), strict=False):
        assert_same(batch, collate([data.draw(*draw) for draw in draws]))


def test_what_a_worker_finds_broken_is_named(tmp_path):
    write_data(tmp_path, 2, 2)
    (tmp_path / "segs/train/p1/v/0/00001.png").unlink()
    with pytest.raises(InputError, match=r"p1/v/0/00001\.png: expected this file, found none"):
        first_batches(FramePairs(tmp_path, "train", 16, 1), 2, workers=2)


def test_batches_divide_among_processes(tmp_path):
    write_data(tmp_path, 4, 2)
    data = FramePairs(tmp_path, "train", 16, 1)

    def first_images(rank, count):
        process = Process(rank, count, torch.device("cpu"))
        return next(training_batches(data, 4, 7, process, workers=0)).source.images

    torch.testing.assert_close(torch.cat([first_images(0, 2), first_images(1, 2)]), first_images(0, 1)[[0, 2, 1, 3]])
    with pytest.raises(InputError, match="a multiple of the 2 processes, found 3"):
        next(training_batches(data, 3, 7, Process(0, 2, torch.device("cpu")), 0))


@pytest.mark.parametrize("options", [{}, {"coords": True}, {"suffix": "jpg"}])
def test_frames_kept_in_memory_are_those_on_the_disk(tmp_path, options):
    write_data(tmp_path, 3, 4, **options)
    disk, memory = (FramePairs(tmp_path, "train", 16, 1, mirror=True, in_memory=kept) for kept in (False, True))
    for folder in ("imgs", "keypoints", "segs"):
        (tmp_path / folder).rename(tmp_path / f"{folder}-gone")
    held = [memory[i] for i in range(3)]
    for folder in ("imgs", "keypoints", "segs"):
        (tmp_path / f"{folder}-gone").rename(tmp_path / folder)
    for i in range(3):
        assert_same(disk[i], held[i])


def test_half_of_the_items_are_mirrored_and_source_and_target_together(tmp_path):
    written = write_data(tmp_path, 1, 2)
    data = FramePairs(tmp_path, "train", SIZE, 1, mirror=True)
    flips = []
    for epoch in range(100):
        data.set_epoch(epoch)
        item = data[0]
        images = torch.cat([item.source.images[0], item.target.images[0]])
        known = torch.stack([torch.from_numpy(written[0, j]["imgs"].transpose(2, 0, 1) / 127.5 - 1) for j in (0, 1)])
        found = [bool(min((image - k).abs().max() for k in known) > 1e-5) for image in images]
        assert found[0] == found[1]
        flips.append(found[0])
    assert 30 < sum(flips) < 70


def test_without_masks_all_is_the_person_and_without_coords_there_are_none(tmp_path):
    write_data(tmp_path, 2, 2)
    for path in (tmp_path / "segs").rglob("*.png"):
        path.unlink()
    (tmp_path / "segs").rename(tmp_path / "other")
    data = FramePairs(tmp_path, "train", 16, 1)
    assert (data.has_masks, data.has_coords) == (False, False)
    assert (data[0].source.masks == 1).all()
    assert collate([data[0], data[1]]).target.coords is None


def test_data_with_and_without_coordinates_may_be_mixed(tmp_path):
    rng = np.random.default_rng(0)
    for place, coords in (("real/v/0", False), ("synthetic/v/0", True)):
        for j in range(2):
            write_frame(tmp_path, place, str(j), rng, coords=coords)
    data = FramePairs(tmp_path, "train", SIZE, 1)
    real, synthetic = collate([data[0], data[1]]).source.coords
    assert real.isnan().all()
    assert synthetic.isfinite().float().mean() == 0.5


def test_a_sequence_comes_in_order_lazily_and_thinned_out(tmp_path):
    rng = np.random.default_rng(0)
    written = {(0, j): write_frame(tmp_path, "p/v/0", str(j), rng) for j in range(12)}  # not padded: 10 is after 9
    (sequence,) = list_sequences(tmp_path, "train")
    assert sequence.label == "p/v/0"
    shown = [frame_of(written, 0, frame.images[0, 0]) for frame in sequence_frames(sequence, SIZE, 1)]
    assert shown == list(range(12))
    assert [frame_of(written, 0, f.images[0, 0]) for f in sequence_frames(sequence, SIZE, 1, 5)] == [0, 5, 10]
    (tmp_path / "keypoints/train/p/v/0/1.npy").unlink()
    frames = sequence_frames(sequence, SIZE, 1)
    next(frames)
    with pytest.raises(InputError, match=r"1\.npy"):
        next(frames)


def test_sequences_are_listed_by_person_video_and_number(tmp_path):
    rng = np.random.default_rng(0)
    for place in ("b/v1/0", "a/v2/1", "a/v2/0", "a/v1/0"):
        write_frame(tmp_path, place, "0", rng)
    write_frame(tmp_path, "t/v/0", "0", rng, split="test")
    (tmp_path / "imgs/train/.hidden").mkdir()
    (tmp_path / "imgs/train/notes.txt").write_text("mine")
    assert [s.label for s in list_sequences(tmp_path, "train")] == ["a/v1/0", "a/v2/0", "a/v2/1", "b/v1/0"]
    assert [s.label for s in list_sequences(tmp_path, "test")] == ["t/v/0"]
