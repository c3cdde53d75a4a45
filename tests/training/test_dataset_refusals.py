"""Which data cannot be trained on, by the name of the file."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bilayer.runtime.errors import InputError
from bilayer.training.data.dataset import FramePairs
from bilayer.training.data.frame_folders import read_frame, read_picture
from bilayer.training.data.layout import list_sequences
from tests.training.written_frames import SIZE, write_data


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
