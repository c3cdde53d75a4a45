"""Every kind of TIFF is read as the picture it holds, or refused: tifffile writes them, arrays are the oracle."""

import struct

import cv2
import numpy as np
import pytest
import tifffile

from bilayer.runtime.errors import PhotoError
from bilayer.runtime.media.photo import read_photo

ROWS, COLUMNS = np.mgrid[:40, :48]
RGB = np.stack([COLUMNS * 5, ROWS * 6, ROWS + COLUMNS], axis=-1).astype(np.uint8)  # (40, 48, 3)
GREY = (COLUMNS * 5).astype(np.uint8)
GREY_RGB = np.repeat(GREY[..., None], 3, axis=-1)
OPAQUE = np.full((40, 48), 255, np.uint8)
INKS = np.dstack([255 - RGB, np.zeros_like(GREY)])


def deep(values, bits=16):
    """8 bits as 16 or 32, all of their range."""
    return values.astype(f"u{bits // 8}") * {16: 257, 32: 257 * 65537}[bits]


def planes(values):
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def lab(values):
    found = cv2.cvtColor(values, cv2.COLOR_RGB2LAB)
    found[..., 1:] ^= 0x80  # signed a and b
    return found


PALETTE = np.stack([np.arange(256) * 257, np.arange(256)[::-1] * 257, np.full(256, 128 * 257)]).astype(np.uint16)
COLOURED = np.stack([GREY, 255 - GREY, np.full_like(GREY, 128)], axis=-1)
ALPHA = {"extrasamples": ["unassalpha"]}
APART = {"planarconfig": "separate"}

# name: array as stored, picture that it is, tags
KINDS = {
    "rgb": (RGB, RGB, {"photometric": "rgb"}),
    "rgb, 16 bits": (deep(RGB), RGB, {"photometric": "rgb"}),
    "rgb, 32 bits": (deep(RGB, 32), RGB, {"photometric": "rgb"}),
    "rgb, planes": (planes(RGB), RGB, {"photometric": "rgb", **APART}),
    "rgb, 16 bits, planes": (planes(deep(RGB)), RGB, {"photometric": "rgb", **APART}),
    "rgb, float": ((RGB / 255).astype("f4"), RGB, {"photometric": "rgb"}),
    "rgb, half": ((RGB / 255).astype("f2"), RGB, {"photometric": "rgb"}),
    "rgb, signed": ((RGB // 2).astype("i1"), RGB, {"photometric": "rgb"}),
    "rgb, signed 16 bits": (RGB.astype("i2") * 128, RGB, {"photometric": "rgb"}),
    "rgba": (np.dstack([RGB, OPAQUE]), RGB, {"photometric": "rgb", **ALPHA}),
    "rgba, 16 bits": (deep(np.dstack([RGB, OPAQUE])), RGB, {"photometric": "rgb", **ALPHA}),
    "rgba, 16 bits, planes": (planes(deep(np.dstack([RGB, OPAQUE]))), RGB, {"photometric": "rgb", **ALPHA, **APART}),
    "rgba, premultiplied": (
        np.dstack([RGB // 2, OPAQUE // 2 + 1]),
        RGB // 2 + 127,  # on white
        {"photometric": "rgb", "extrasamples": ["assocalpha"]},
    ),
    "rgb and a fourth": (np.dstack([RGB, GREY]), RGB, {"photometric": "rgb", "extrasamples": ["unspecified"]}),
    "grey": (GREY, GREY_RGB, {"photometric": "minisblack"}),
    "grey, 16 bits": (deep(GREY), GREY_RGB, {"photometric": "minisblack"}),
    "grey, 32 bits": (deep(GREY, 32), GREY_RGB, {"photometric": "minisblack"}),
    "grey, float": ((GREY / 255).astype("f4"), GREY_RGB, {"photometric": "minisblack"}),
    "grey, double": ((GREY / 255).astype("f8"), GREY_RGB, {"photometric": "minisblack"}),
    "grey, signed": ((GREY // 2).astype("i1"), GREY_RGB, {"photometric": "minisblack"}),
    "grey, signed 16 bits": (GREY.astype("i2") * 128, GREY_RGB, {"photometric": "minisblack"}),
    "grey, signed 32 bits": (GREY.astype("i4") * 257, GREY_RGB, {"photometric": "minisblack"}),
    "white is zero": (255 - GREY, GREY_RGB, {"photometric": "miniswhite"}),
    "white is zero, 16 bits": (65535 - deep(GREY), GREY_RGB, {"photometric": "miniswhite"}),
    "white is zero, 32 bits": (~deep(GREY, 32), GREY_RGB, {"photometric": "miniswhite"}),
    "white is zero, float": ((1 - GREY / 255).astype("f4"), GREY_RGB, {"photometric": "miniswhite"}),
    "white is zero, signed": (127 - (GREY // 2).astype("i1"), GREY_RGB, {"photometric": "miniswhite"}),
    "bilevel": (GREY > 100, np.where(GREY_RGB > 100, 255, 0), {"photometric": "minisblack"}),
    "grey and alpha": (np.dstack([GREY, OPAQUE]), GREY_RGB, {"photometric": "minisblack", **ALPHA}),
    "grey and alpha, 16 bits": (deep(np.dstack([GREY, OPAQUE])), GREY_RGB, {"photometric": "minisblack", **ALPHA}),
    "grey and alpha, planes": (np.stack([GREY, OPAQUE]), GREY_RGB, {"photometric": "minisblack", **ALPHA, **APART}),
    "six bands": (np.dstack([RGB, RGB]), RGB, {"photometric": "minisblack", "planarconfig": "contig"}),
    "palette": (GREY, COLOURED, {"photometric": "palette", "colormap": PALETTE}),
    "cmyk": (INKS, RGB, {"photometric": "separated"}),
    "cmyk, 16 bits": (deep(INKS), RGB, {"photometric": "separated"}),
    "cmyk, planes": (planes(INKS), RGB, {"photometric": "separated", **APART}),
    "cmyk, 16 bits, planes": (planes(deep(INKS)), RGB, {"photometric": "separated", **APART}),
    "lab": (lab(RGB), RGB, {"photometric": "cielab"}),
    "lab, 16 bits": (deep(lab(RGB)), RGB, {"photometric": "cielab"}),
    "lab of icc": (cv2.cvtColor(RGB, cv2.COLOR_RGB2LAB), RGB, {"photometric": "icclab"}),
    "a sensor's mosaic": (deep(GREY), None, {"photometric": "cfa"}),
    "a sensor's colours": (RGB, None, {"photometric": "linear_raw"}),
    "a preview": (RGB, None, {"photometric": "rgb", "subfiletype": 1}),
    "a digital negative": (RGB, None, {"photometric": "rgb", "extratags": [(50706, 1, 4, (1, 4, 0, 0), True)]}),
}
STORED = {
    "": {},
    "compressed": {"compression": "zlib"},
    "predicted": {"compression": "zlib", "predictor": True},
    "tiled": {"tile": (16, 16)},
    "tiled, compressed": {"tile": (16, 16), "compression": "zlib"},
    "strips": {"rowsperstrip": 7},
}
# What is read today: that it is not refused without need
READ = [
    "rgb", "rgb, 16 bits", "rgb, planes", "rgb, 16 bits, planes", "rgba", "rgba, 16 bits", "rgba, 16 bits, planes",
    "rgba, premultiplied", "rgb and a fourth", "grey",
    "grey, 16 bits", "grey, float", "grey, signed 32 bits", "white is zero", "white is zero, 16 bits",
    "white is zero, float", "bilevel", "grey and alpha", "palette", "cmyk", "cmyk, 16 bits", "cmyk, planes", "lab",
]  # fmt: skip
PREDICTED = {"u1", "u2", "u4", "i1", "i2", "i4"}  # whole numbers


def write(path, kind, stored, order):
    array, expected, tags = KINDS[kind]
    options = {**tags, **STORED[stored]}
    if options.get("predictor") and array.dtype.str[1:] not in PREDICTED:
        options.pop("predictor")
    tifffile.imwrite(path, array, byteorder=order, metadata=None, **options)
    return expected


def outcome(path):
    """Pixels, or what is said, which must be one line that names the file first."""
    found, said = None, ""
    try:
        found = read_photo(path).astype(int)
    except PhotoError as error:
        said = str(error)
    assert not said or said.startswith(f"{path}: ")
    assert "\n" not in said
    return found, said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", "<>")
def test_it_is_read_right_or_refused(tmp_path, kind, order):
    for stored in STORED:
        path = tmp_path / "a.tif"
        expected = write(path, kind, stored, order)
        found, said = outcome(path)
        assert said or expected is not None, stored
        if not said:
            assert np.abs(found - expected).mean() < (6 if kind == "lab" else 1), stored  # D50 there, D65 here


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("stored", STORED)
def test_what_people_have_is_read(tmp_path, kind, stored):
    write(tmp_path / "a.tif", kind, stored, "<")
    found, said = outcome(tmp_path / "a.tif")
    assert found is not None, said


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "grey and alpha, planes",
            "found a TIFF with 8-bit samples, each colour in a plane of its own; save it as PNG",
        ),
        (
            "cmyk, 16 bits, planes",
            "found a TIFF with 16-bit samples, each colour in a plane of its own; save it as PNG",
        ),
        ("grey, signed", "found a TIFF with signed 8-bit samples; save it as PNG"),
        ("grey, signed 16 bits", "found a TIFF with signed 16-bit samples"),
        ("a preview", "found a camera's raw file, whose pictures here are previews; develop it, and save it as JPEG"),
        ("a digital negative", "found a camera's raw file"),
    ],
)
def test_refusals_tell_what_it_is(tmp_path, kind, words):
    write(tmp_path / "a.tif", kind, "", "<")
    assert words in outcome(tmp_path / "a.tif")[1]


def test_a_raw_files_preview_is_not_the_photo(tmp_path):
    path = tmp_path / "raw.dng"  # a small preview in front, the picture in a SubIFD, as cameras write
    with tifffile.TiffWriter(path) as file:
        file.write(RGB[::2, ::2], photometric="rgb", subfiletype=1, subifds=1)
        file.write(RGB, photometric="rgb", subfiletype=0)
    assert "a camera's raw file" in outcome(path)[1]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("larger", [0, 1])  # of the two below
@pytest.mark.parametrize("kind", ["rgb", "cfa"])
def test_a_preview_that_is_not_marked_is_told_from_what_lies_below_it(tmp_path, order, big, larger, kind):
    below = {"rgb": RGB, "cfa": deep(GREY)}[kind]
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=order, bigtiff=big) as file:
        file.write(RGB[::2, ::2], photometric="rgb", subifds=2)
        for number in range(2):
            file.write(below if number == larger else below[::4, ::4], photometric=kind)
    told = "a TIFF whose first picture is a small one of another in it"
    if big and order == ">":
        told = "a picture [(]TIFF[)] that is none of these"
    with pytest.raises(PhotoError, match=f"found {told}"):
        read_photo(tmp_path / "a.tif")


@pytest.mark.parametrize("place", [0, 3, 1 << 20, (1 << 32) - 1])
def test_damaged_places_of_pictures_below_hinder_nobody(tmp_path, place):
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", extratags=[(330, "I", 2, (place, place), True)])
    assert np.array_equal(read_photo(tmp_path / "a.tif"), RGB)


def test_the_picture_with_smaller_ones_below_it_is_read(tmp_path):
    path = tmp_path / "pyramid.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(RGB, photometric="rgb", subifds=1)
        file.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_photo(path), RGB)


def packed(values, bits, photometric=1):
    """A TIFF of grey values whose rows are packed to `bits` each: tifffile writes none."""
    height, width = values.shape
    shifts = np.arange(bits - 1, -1, -1)
    ones = (values[..., None].astype(np.int64) >> shifts & 1).reshape(height, -1).astype(np.uint8)
    data = np.packbits(ones, axis=1).tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, height)]
    tags += [(279, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14])
@pytest.mark.parametrize("photometric", [0, 1])
def test_few_and_odd_bits_are_scaled_to_white_or_refused(tmp_path, bits, photometric):
    most = 2**bits - 1
    values = np.linspace(0, most, 24).round().astype(int).reshape(2, 12)
    (tmp_path / "a.tif").write_bytes(packed(values if photometric else most - values, bits, photometric))
    found, said = outcome(tmp_path / "a.tif")
    assert not said or bits not in (1, 2, 4, 8)
    if not said:
        np.testing.assert_allclose(found[..., 0], values * 255 / most, atol=1)


def test_two_pages_are_refused_whatever_they_are(tmp_path):
    path = tmp_path / "pages.tif"
    tifffile.imwrite(path, np.stack([RGB, RGB]), photometric="rgb")
    assert "several pages" in outcome(path)[1]
