import io
import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from bilayer.runtime.errors import PhotoError
from bilayer.runtime.media.photo import BACKDROP, MAX_PIXELS, read_photo

ROWS, COLUMNS = np.mgrid[:30, :40]
RGB = np.stack([COLUMNS * 6, ROWS * 8, np.full_like(ROWS, 90)], axis=-1).astype(np.uint8)  # (30, 40, 3)


def saved(tmp_path, image, name="photo.png", **options):
    path = tmp_path / name
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp"])
def test_lossless_formats_come_back_to_the_bit(tmp_path, name):
    photo = read_photo(saved(tmp_path, RGB, name, **({"lossless": True} if name == "a.webp" else {})))
    assert (photo.dtype, photo.flags.writeable) == (np.uint8, True)
    np.testing.assert_array_equal(photo, RGB)


@pytest.mark.parametrize("name", ["a.jpg", "a.gif", "a.avif", "misnamed.png"])
def test_lossy_formats_come_back_nearly(tmp_path, name):
    path = saved(tmp_path, RGB, name, **({"format": "JPEG"} if name == "misnamed.png" else {}))
    assert np.abs(read_photo(str(path)).astype(int) - RGB).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_every_exif_orientation_is_undone(tmp_path, orientation, name):
    # What a camera held that way stores, from the EXIF table of where row 0 and column 0 are (TIFF 6.0, tag 274)
    stored = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.swapaxes(0, 1),
        6: np.rot90(RGB, 1),
        7: np.rot90(RGB[::-1], 1),
        8: np.rot90(RGB, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, np.ascontiguousarray(stored), name, exif=exif)
    np.testing.assert_array_equal(read_photo(path), RGB)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("L", [[[100] * 3, [200] * 3]]),
        ("1", [[[0] * 3, [255] * 3]]),
        ("P", [[[100] * 3, [200] * 3]]),
        ("LA", [[[100] * 3, [200] * 3]]),
        ("RGBA", [[[100] * 3, [200] * 3]]),
    ],
)
def test_grey_palette_and_opaque_pictures_become_rgb(tmp_path, mode, expected):
    grey = Image.fromarray(np.array([[100, 200]], np.uint8))
    picture = grey.point(lambda v: 255 * (v > 150)).convert(mode) if mode == "1" else grey.convert(mode)
    np.testing.assert_array_equal(read_photo(saved(tmp_path, picture)), expected)


def test_transparent_pixels_show_the_backdrop(tmp_path):
    clear_half_opaque = np.array([[[10, 20, 30, 0], [0, 0, 0, 128], [10, 20, 30, 255]]], np.uint8)
    photo = read_photo(saved(tmp_path, clear_half_opaque))
    np.testing.assert_array_equal(photo[0, 0], BACKDROP)
    np.testing.assert_allclose(photo[0, 1], np.array(BACKDROP) * (1 - 128 / 255), atol=1)
    np.testing.assert_array_equal(photo[0, 2], [10, 20, 30])


def test_a_transparent_palette_colour_shows_the_backdrop(tmp_path):
    picture = Image.frombytes("P", (2, 1), b"\x00\x01")
    picture.putpalette([1, 2, 3, 50, 60, 70])
    path = saved(tmp_path, picture, "a.png", transparency=0)
    np.testing.assert_array_equal(read_photo(path), [[BACKDROP, [50, 60, 70]]])


def test_cmyk_becomes_rgb(tmp_path):
    inks = Image.merge("CMYK", [Image.new("L", (8, 8), ink) for ink in (255, 0, 0, 0)])
    photo = read_photo(saved(tmp_path, inks, "a.tif"))
    np.testing.assert_array_equal(photo[4, 4], [0, 255, 255])


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_is_scaled_not_cut(tmp_path, name):
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    photo = read_photo(saved(tmp_path, values, name))
    np.testing.assert_array_equal(photo[0, :, 0], [0, 1, 128, 255])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 32768, 65535]], np.int32), [0, 128, 255]),
    ],
)
def test_deep_grey_is_scaled(tmp_path, values, expected):
    np.testing.assert_array_equal(read_photo(saved(tmp_path, values, "a.tif"))[0, :, 1], expected)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[0, 300.0]], np.float32), "expected 0 to 1, found 0 to 300"),
        (np.array([[0, np.nan]], np.float32), "expected 0 to 1, found nan"),
        (np.array([[-5, 70000]], np.int32), "expected 0 to 65535, found -5 to 70000"),
    ],
)
def test_grey_of_unknown_range_is_refused_not_guessed(tmp_path, values, words):
    with pytest.raises(PhotoError, match=words):
        read_photo(saved(tmp_path, values, "a.tif"))


def test_16_bit_colour_is_scaled_not_cut(tmp_path):
    import cv2

    values = np.array([[[0, 128 * 257, 65535], [257, 257, 0]]], np.uint16)  # blue, green, red, as OpenCV writes
    cv2.imwrite(str(tmp_path / "a.png"), values)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), [[[255, 128, 0], [0, 1, 1]]])


@pytest.mark.parametrize("mode", ["LAB", "YCbCr"])
def test_other_colour_spaces_become_rgb(tmp_path, mode):
    photo = read_photo(saved(tmp_path, Image.fromarray(RGB).convert(mode), "a.tif"))
    assert np.abs(photo.astype(int) - RGB).mean() < 3


def profile_with_red_and_green_swapped():
    """The sRGB profile, its red and green primaries exchanged, and a name that is not sRGB's."""
    original = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    count = int.from_bytes(original[128:132], "big")
    entries = {original[132 + 12 * i :][:4]: 132 + 12 * i for i in range(count)}  # tag table of ICC.1
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    swapped = bytearray(original)
    swapped[red + 4 : red + 12], swapped[green + 4 : green + 12] = (
        original[green + 4 : green + 12],
        original[red + 4 : red + 12],
    )
    return bytes(swapped).replace("sRGB".encode("utf-16be"), "test".encode("utf-16be"))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_a_colour_profile_is_applied(tmp_path, name):
    flat = np.full((16, 16, 3), [200, 60, 30], np.uint8)
    path = saved(tmp_path, flat, name, icc_profile=profile_with_red_and_green_swapped())
    np.testing.assert_allclose(read_photo(path)[8, 8], [60, 200, 30], atol=3)


def test_the_srgb_profile_changes_nothing(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(read_photo(saved(tmp_path, RGB, icc_profile=srgb)), RGB)


def test_a_damaged_profile_is_ignored_with_a_warning(tmp_path, caplog):
    path = saved(tmp_path, RGB, icc_profile=b"not a profile")
    np.testing.assert_array_equal(read_photo(path), RGB)
    assert f"{path}: its colour profile is damaged" in caplog.text


def test_of_a_phones_two_picture_file_the_first_is_read(tmp_path):
    main, depth = Image.fromarray(RGB), Image.new("RGB", (20, 15))
    path = saved(tmp_path, main, "a.jpg", format="MPO", save_all=True, append_images=[depth])
    assert read_photo(path).shape == RGB.shape


# Hostile and mistaken files


def refusal(path):
    """The message, which must be one line that names the file first."""
    with pytest.raises(PhotoError) as caught:
        read_photo(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "found an empty file"),
        (b"Dear diary,\n", "found text"),
        (b"%PDF-1.7\n\x00", "found a PDF"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00", "found a video"),
        (b"\x1a\x45\xdf\xa3\x01\x00", "found a video"),
        (b"\x89PNG\r\n\x1a\n", "is damaged"),
        (b"II*\0\x10\0\0\0CR\2\0", "found a camera's raw picture; develop it, and save it as JPEG or PNG"),
        (b"FUJIFILMCCD-RAW 0201", "found a camera's raw picture"),
        (b"IIU\0\x18\0\0\0", "found a camera's raw picture"),
        (b"IIRO\x08\0\0\0", "found a camera's raw picture"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "found a camera's raw picture"),
        (b"\xff\x0a\xfa\x7f", "found a JPEG XL picture that is none of these"),
        (b"8BPS\0\1", "found a Photoshop file that is none of these"),
        (bytes(range(256)), "data that is none of these"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(tmp_path, content, words):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    message = refusal(path)
    assert words in message
    assert "expected a photo (JPEG, PNG, WebP" in message


def test_heic_without_its_plugin_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00")
    assert "pip install 'bilayer[heic]'" in refusal(path)


def test_heic_is_read_where_its_plugin_is_installed(tmp_path, monkeypatch):
    class StandIn:  # for pillow_heif, which registers a plugin named HEIF in just this way
        @staticmethod
        def register_heif_opener():
            Image.register_open(
                "HEIF", lambda fp, _: Image.open(io.BytesIO(fp.read()[12:])), lambda b: b[4:8] == b"ftyp"
            )

    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    monkeypatch.setitem(sys.modules, "pillow_heif", StandIn)
    png = io.BytesIO()
    Image.fromarray(RGB).save(png, "PNG")
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\x00\x00\x00\x18ftypheic" + png.getvalue())
    np.testing.assert_array_equal(read_photo(path), RGB)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.bmp", "a.gif", "a.avif"])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_file_cut_short_is_refused(tmp_path, capfd, name, part):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = saved(tmp_path, noise, name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    assert "damaged" in refusal(path)
    assert capfd.readouterr().err == ""  # nothing from the C libraries either


def test_a_damaged_compressed_tiff_prints_nothing_of_its_own(tmp_path, capfd):
    path = saved(tmp_path, RGB, "a.tif", compression="tiff_lzw")
    content = path.read_bytes()
    path.write_bytes(content[:8] + b"\xff" * 200 + content[208:])
    assert "damaged" in refusal(path)
    assert capfd.readouterr().err == ""


def several_frames(tmp_path, name):
    frames = [Image.fromarray(np.full((20, 20, 3), value, np.uint8)) for value in (0, 120, 240)]
    return saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif", "a.avif", "with space.gif"])
def test_animations_and_pages_are_refused_with_a_way_to_extract_one(tmp_path, name):
    message = refusal(several_frames(tmp_path, name))
    assert "expected one picture" in message
    quoted = f"'{name}'" if " " in name else name
    assert f"ffmpeg -i {quoted} -frames:v 1 frame.png" in message


def huge_png(width, height):
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    rows = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (12_001, 10_000), (2_000_000_000, 1)])
def test_huge_pictures_are_refused_before_a_pixel_is_decoded(tmp_path, monkeypatch, width, height):
    def must_not_be_called(self):
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", must_not_be_called)
    path = tmp_path / "bomb.png"
    path.write_bytes(huge_png(width, height))
    assert width * height > MAX_PIXELS
    assert "at most 120 million" in refusal(path)


def test_places_that_are_no_file_are_refused(tmp_path):
    assert "is a folder" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "missing.jpg")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "device, pipe or socket" in refusal(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.gif", "a.bmp"])
def test_any_damage_ends_in_a_picture_or_in_one_line(tmp_path, name):
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if name in ("a.gif", "a.bmp") else {"exif": exif, "icc_profile": profile_with_red_and_green_swapped()}
    path = saved(tmp_path, RGB, name, **options)
    content = path.read_bytes()
    random = np.random.default_rng(zlib.crc32(name.encode()))
    for _ in range(60):
        damaged = bytearray(content)
        for position in random.integers(0, min(len(content), 600), 3):
            damaged[position] = random.integers(0, 256)
        path.write_bytes(damaged)
        refused = ""
        try:
            photo = read_photo(path)
        except PhotoError as error:
            refused = str(error)
        assert "\n" not in refused
        assert refused or (photo.dtype, photo.shape[2]) == (np.uint8, 3)


def test_reading_photos_does_not_import_torch():
    code = "import sys, bilayer.runtime.media.photo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("mode", ["P", "1", "L", "LA", "RGBA", "RGB"])
def test_a_picture_of_many_strips_is_the_one_that_pillow_converts_whole(tmp_path, mode):
    noise = np.random.default_rng(0).integers(0, 256, (2100, 1500, 4), np.uint8)  # three strips, the last one cut
    image = Image.fromarray(noise).convert(mode)
    image.save(tmp_path / "a.png")
    whole = Image.new("RGBA", image.size, (255, 255, 255, 255))
    whole.alpha_composite(image.convert("RGBA"))
    read = read_photo(tmp_path / "a.png").astype(int)
    assert np.abs(read - np.asarray(whole.convert("RGB"))).max() <= (1 if "A" in mode else 0)
