"""Frames come off the disk as the networks take them, and which ones is the same for everybody who asks."""

import itertools
import struct
import zlib
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from bilayer.runtime.errors import InputError
from bilayer.runtime.face.crop import draw_stickman
from bilayer.runtime.face.found import MIRRORED
from bilayer.training.data.batches import endless_draws, training_batches
from bilayer.training.data.dataset import FramePairs, collate, frame_batch, sequence_frames
from bilayer.training.data.frame_folders import (
    StoredFrame,
    list_sequences,
    read_frame,
    read_picture,
    resize_coords,
    resize_image,
    resize_mask,
)
from bilayer.training.data.stored_pairs import draw_frames, mirror_frame
from bilayer.training.processes import Process

SIZE = 32


def face_points(rng, size):
    """68 points spread as the crop rule leaves them: over the middle half."""
    return (size * rng.uniform(0.25, 0.75, (68, 2))).astype(np.float32)


def write_frame(root, place, name, rng, size=SIZE, coords=False, suffix="png", split="train"):
    """One frame of noise; what was written."""
    stored = {
        "imgs": rng.integers(0, 256, (size, size, 3), dtype=np.uint8),
        "segs": rng.integers(0, 256, (size, size), dtype=np.uint8),
        "keypoints": face_points(rng, size),
    }
    if coords:
        stored["coords"] = rng.uniform(-1, 1, (size, size, 2)).astype(np.float16)
        stored["coords"][: size // 2] = np.nan
    for kind, value in stored.items():
        folder = root / kind / split / place
        folder.mkdir(parents=True, exist_ok=True)
        if value.dtype == np.uint8:
            Image.fromarray(value).save(folder / f"{name}.{suffix if kind == 'imgs' else 'png'}", quality=95)
        else:
            np.save(folder / f"{name}.npy", value)
    return stored


def write_data(root, sequences=3, frames=6, **options):
    """A root of noise, one person a sequence; what was written, by (sequence, frame)."""
    rng = np.random.default_rng(0)
    return {
        (i, j): write_frame(root, f"p{i}/v/0", f"{j:05d}", rng, **options)
        for i in range(sequences)
        for j in range(frames)
    }


def tensors(batch):
    """All of a batch's tensors."""
    parts = [vars(part) for part in (batch.source, batch.target)]
    return [value for part in parts for value in part.values() if value is not None]


def assert_same(left, right):
    for a, b in zip(tensors(left), tensors(right), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def frame_of(written, sequence, image):
    """The number of the frame whose picture a tensor (3, S, S) shows."""
    shown = ((image.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
    matches = [j for (i, j), stored in written.items() if i == sequence and np.array_equal(stored["imgs"], shown)]
    assert len(matches) == 1
    return matches[0]


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


def test_mirroring_moves_landmarks_with_the_pixels_they_mark():
    rng = np.random.default_rng(0)
    places = rng.permutation(SIZE * SIZE)[:68]
    keypoints = np.stack([places % SIZE, places // SIZE], axis=1).astype(np.float32)
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[places // SIZE, places % SIZE, 0] = 1 + np.arange(68)  # landmark i is marked by i + 1
    coords = rng.uniform(-1, 1, (SIZE, SIZE, 2)).astype(np.float16)
    frame = StoredFrame(image, image[..., 0], keypoints, SIZE, coords)
    plain, mirrored = frame_batch([frame], 1), frame_batch([mirror_frame(frame)], 1)
    points = np.rint((mirrored.poses[0, 0].view(68, 2).numpy() + 1) / 2 * SIZE).astype(int)
    marks = ((mirrored.images[0, 0, 0] + 1) * 127.5).round().int().numpy()[points[:, 1], points[:, 0]]
    np.testing.assert_array_equal(marks, 1 + MIRRORED)
    torch.testing.assert_close(mirrored.images, plain.images.flip(-1), rtol=0, atol=0)
    torch.testing.assert_close(mirrored.masks, plain.masks.flip(-1), rtol=0, atol=0)
    torch.testing.assert_close(mirrored.coords, plain.coords.flip(3) * torch.tensor([-1.0, 1.0]), rtol=0, atol=0)


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


@given(st.integers(1, 4), st.integers(1, 8), st.integers(0, 2**32))
def test_shrinking_a_picture_averages_areas(factor, size, seed):
    image = np.random.default_rng(seed).integers(0, 256, (factor * size, factor * size, 3), dtype=np.uint8)
    means = image.reshape(size, factor, size, factor, 3).mean(axis=(1, 3))
    assert np.abs(resize_image(image, size) - means).max() <= 0.501


@given(st.integers(4, 40), st.integers(4, 40), st.integers(0, 255))
def test_an_even_picture_stays_even_in_any_size(before, after, value):
    assert (resize_image(np.full((before, before, 3), value, np.uint8), after) == value).all()
    assert (resize_mask(np.full((before, before), value, np.uint8), after) == value).all()
    even = np.full((before, before, 2), value / 256, np.float16)
    np.testing.assert_allclose(resize_coords(even, after), even[0, 0, 0], atol=1e-3)


def test_a_mask_is_resized_as_the_authors_do():
    mask = np.asarray(cv2.GaussianBlur(np.eye(64, dtype=np.uint8) * 255, (9, 9), 2))
    expected = np.asarray(Image.fromarray(mask).resize((24, 24), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resize_mask(mask, 24), expected)


@given(st.sampled_from([2, 4]), st.floats(0, 1), st.integers(0, 2**32))
def test_shrunk_coordinates_are_means_of_what_is_known(factor, share, seed):
    size = 6
    rng = np.random.default_rng(seed)
    centres = ((np.arange(factor * size) + 0.5) / (factor * size) * 2 - 1) * 0.2  # smooth: no seam anywhere
    coords = np.stack(np.meshgrid(centres, centres), axis=-1).astype(np.float16)
    coords[rng.random(coords.shape[:2]) < share] = np.nan
    found = resize_coords(coords, size)
    for y, x in np.ndindex(size, size):
        cell = coords[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor].reshape(-1, 2).astype(np.float64)
        known = cell[np.isfinite(cell).all(axis=1)]
        if 2 * len(known) < len(cell):
            assert np.isnan(found[y, x]).all()
        else:
            np.testing.assert_allclose(found[y, x], known.mean(axis=0), atol=1e-3)


def test_a_seam_has_no_coordinate_when_shrunk():
    coords = np.zeros((8, 8, 2), np.float16)
    coords[..., 0] = np.where(np.arange(8) < 3, -0.9, 0.9)
    found = resize_coords(coords, 4)
    assert np.isnan(found[:, 1]).all()
    np.testing.assert_allclose(found[:, [0, 2, 3], 0], [[-0.9, 0.9, 0.9]] * 4, atol=1e-3)


def test_enlarged_coordinates_are_the_nearest_ones():
    coords = np.random.default_rng(0).uniform(-1, 1, (4, 4, 2)).astype(np.float16)
    coords[1, 2] = np.nan
    np.testing.assert_array_equal(resize_coords(coords, 8), coords.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.full((8, 8), 255, np.uint8), "expected 32 x 32 pixels as the picture, found 8 x 8"),
        (np.zeros((SIZE, SIZE), np.uint8), "mask: expected 255 where the person is, found 0 at most"),
        (np.ones((SIZE, SIZE), np.uint8), "mask: expected 255 where the person is, found 1 at most"),
    ],
)
def test_a_mask_of_another_picture_or_of_nobody_is_refused(tmp_path, mask, words):
    write_data(tmp_path, 1, 1)
    (path,) = (path for path in (tmp_path / "segs").rglob("*.png"))
    (sequence,) = list_sequences(tmp_path, "train")
    (picture,) = sequence.pictures()
    assert read_frame(sequence, picture, 16, masks=True, coords=False).mask.shape == (16, 16)
    Image.fromarray(mask).save(path)
    with pytest.raises(InputError, match=f"{path}: {words}"):
        read_frame(sequence, picture, 16, masks=True, coords=False)
    assert (read_frame(sequence, picture, 16, masks=False, coords=False).mask == 255).all()


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


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def broken_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def npy(array):
    return lambda path: np.save(path, array)


BREAKS = [
    ("imgs", Path.unlink, "expected frames as .png or .jpg, found none"),
    ("imgs", half, "expected a PNG or JPEG, found .* do not end as one"),
    ("imgs", broken_byte, "expected a PNG or JPEG, found damaged data"),
    ("imgs", lambda path: path.write_bytes(b""), "found 0 bytes"),
    ("imgs", lambda path: Image.new("RGB", (9, 7)).save(path), "expected a square picture .* found 9 x 7"),
    ("segs", Path.unlink, "expected this file, found none"),
    ("segs", half, "do not end as one"),
    ("keypoints", Path.unlink, "expected this file, found none"),
    ("keypoints", half, "damaged data"),
    ("keypoints", lambda path: path.write_bytes(b"text"), "damaged data"),
    ("keypoints", npy(np.zeros((67, 2))), r"expected shape \(68, 2\), found \(67, 2\)"),
    ("keypoints", npy(np.full((68, 2), np.nan)), "expected finite pixel positions"),
    ("keypoints", npy(np.ones((68, 2))), "keypoints: all landmarks in one place; expected a face"),
    ("keypoints", npy(np.outer(np.arange(68), [3, 1])), "keypoints: all landmarks on one line; expected a face"),
    ("keypoints", npy(np.array([{}], dtype=object)), "expected numbers, found object"),
    ("coords", Path.unlink, "expected this file, found none"),
    ("coords", npy(np.zeros((SIZE, SIZE, 3), np.float16)), r"expected float16 of shape \(S, S, 2\)"),
]


@pytest.mark.parametrize(("kind", "harm", "words"), BREAKS)
def test_what_is_broken_is_named_in_one_line(tmp_path, kind, harm, words):
    write_data(tmp_path, 1, 1, coords=True)
    (path,) = (path for path in (tmp_path / kind).rglob("*") if path.is_file())
    harm(path)
    data = FramePairs(tmp_path, "train", SIZE, 1)
    with pytest.raises(InputError, match=words) as caught:
        data[0]
    assert str(path if path.exists() or kind != "imgs" else path.parent) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=words):
        FramePairs(tmp_path, "train", SIZE, 1, in_memory=True)


def test_places_without_data_are_named(tmp_path):
    with pytest.raises(InputError, match="expected a folder imgs/train"):
        FramePairs(tmp_path, "train", SIZE, 1)
    (tmp_path / "imgs" / "train" / "p").mkdir(parents=True)
    with pytest.raises(InputError, match="expected folders PERSON/VIDEO/SEQUENCE, found none"):
        FramePairs(tmp_path, "train", SIZE, 1)


def test_arguments_that_make_no_sense(tmp_path):
    write_data(tmp_path, 1, 1)
    for bad in ({"source_frames": 0}, {"target_frames": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match="at least 1"):
            FramePairs(tmp_path, "train", SIZE, 1, **bad)
    with pytest.raises(IndexError, match="sequence 1 of 1"):
        FramePairs(tmp_path, "train", SIZE, 1)[1]


@pytest.mark.parametrize(("side", "found"), [(12_000, "12000 x 12000"), (20_000, "20000 x 20000")])
def test_a_picture_that_claims_gigabytes_is_refused_by_its_header(tmp_path, side, found):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b""))
    with pytest.raises(InputError, match=f"of at most 8192 pixels a side, cropped to the face, found {found}"):
        read_picture(path, cv2.IMREAD_COLOR_RGB)
