"""Frames of noise, written as prepared data lie, and which of them a tensor shows."""

import numpy as np
import torch
from PIL import Image

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
