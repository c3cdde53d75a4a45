"""Photo to source: the one way, against its steps taken one by one."""

import numpy as np
import pytest
from PIL import Image

from bilayer.model import ModelConfig, make_source, source_of_photo
from bilayer.model.photo_source import Portrait, shot_of
from bilayer.runtime import PersonMasker, crop_face, erode_mask, face_from_landmarks, find_face, read_photo
from bilayer.runtime.errors import LandmarkError, PhotoError
from tests import golden

CONFIG = ModelConfig(image_size=64, enh_bottleneck_tensor_size=32, dis_output_tensor_size=4)
CASE = golden.load("case_a/preproc.npz")
PHOTO, LANDMARKS = CASE["source_image"], CASE["source_landmarks"]


def assert_same_source(found: Portrait, expected) -> None:
    for name in ("images", "poses", "stickmen", "masks"):
        np.testing.assert_array_equal(getattr(found.source, name), getattr(expected, name), err_msg=name)


def test_given_landmarks_take_the_place_of_a_landmarker():
    found = source_of_photo(PHOTO, CONFIG, landmarks=LANDMARKS, mask=False)
    assert_same_source(found, make_source(crop_face(PHOTO, LANDMARKS, 64), CONFIG))
    np.testing.assert_array_equal(found.photo, PHOTO)
    np.testing.assert_array_equal(found.face.landmarks, LANDMARKS)
    assert found.mask is None


def test_files_give_what_their_contents_give(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", LANDMARKS)
    found = source_of_photo(tmp_path / "a.png", CONFIG, landmarks=tmp_path / "a.npy", mask=False)
    assert_same_source(found, source_of_photo(PHOTO, CONFIG, landmarks=LANDMARKS, mask=False).source)


@pytest.mark.parametrize("size", [64, 128, 200])
def test_a_texture_is_not_fitted_to_what_lies_beyond_the_photo(size):
    """A photo that ends at the chin: the black below it is nobody's, though the whole crop is taken for the person."""
    chin = int(LANDMARKS[:, 1].max()) + 1
    cut = source_of_photo(PHOTO[:chin], CONFIG, landmarks=LANDMARKS, mask=False)
    whole = source_of_photo(PHOTO, CONFIG, landmarks=LANDMARKS, mask=False)
    assert cut.source.masks.min() == 1
    below, found = (chin - cut.crop.box.corners[1]) / cut.crop.box.side * size, shot_of(cut, size)
    assert not found.masks[:, :, int(below) :].any()
    seen = found.masks.bool().expand_as(found.images)
    assert seen[:, :, : int(below - 0.1 * size)].float().mean() > 0.8
    np.testing.assert_allclose(found.images[seen], shot_of(whole, size).images[seen], atol=2 / 255)


def test_the_photo_is_turned_clockwise_before_its_face_is_found():
    class Finder:
        def find(self, photo):
            np.testing.assert_array_equal(photo, PHOTO)
            return [face_from_landmarks(LANDMARKS)]

    lying = np.rot90(PHOTO, k=1)  # counter-clockwise
    found = source_of_photo(lying, CONFIG, landmarker=Finder(), rotate=90, mask=False)
    assert_same_source(found, make_source(crop_face(PHOTO, LANDMARKS, 64), CONFIG))


def test_of_several_faces_one_is_taken_by_its_number():
    class Finder:
        def find(self, photo):
            return [face_from_landmarks(LANDMARKS + np.float32([offset, 0])) for offset in (0, 9)]

    found = source_of_photo(PHOTO, CONFIG, landmarker=Finder(), face=2, mask=False)
    assert_same_source(found, make_source(crop_face(PHOTO, LANDMARKS + np.float32([9, 0]), 64), CONFIG))
    with pytest.raises(PhotoError, match="the photo: face 3 asked for, found 2"):
        source_of_photo(PHOTO, CONFIG, landmarker=Finder(), face=3, mask=False)


@pytest.mark.parametrize("found_by", ["landmarks", "landmarker"])
def test_what_may_spoil_the_avatar_is_told_however_the_face_was_found(found_by, tmp_path):
    class Finder:
        def find(self, photo):
            return [face_from_landmarks(LANDMARKS / 8)]

    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    way = {"landmarks": LANDMARKS / 8} if found_by == "landmarks" else {"landmarker": Finder()}
    concerns = source_of_photo(tmp_path / "a.png", CONFIG, mask=False, **way).concerns
    assert concerns[0].startswith(f"{tmp_path / 'a.png'}: the face is small")


def test_unusable_landmarks_are_refused():
    with pytest.raises(LandmarkError, match=r"\(68, 2\)"):
        source_of_photo(PHOTO, CONFIG, landmarks=np.zeros((5, 2), np.float32), mask=False)


def test_by_default_networks_find_the_face_and_cut_the_person_out(astronaut_path, face_networks):
    found = source_of_photo(astronaut_path, CONFIG)
    photo = read_photo(astronaut_path)
    crop = crop_face(photo, find_face(photo).landmarks, 64)
    mask = erode_mask(PersonMasker().mask(crop.image))
    np.testing.assert_array_equal(found.mask, mask)
    assert_same_source(found, make_source(crop, CONFIG, mask))
    assert found.concerns == ()


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((64, 64), np.float32), "mask: expected the person, found 0.00 of 1 at most; .* --no-mask"),
        (np.full((64, 64), np.nan, np.float32), r"mask: expected 64 x 64 values in 0..1, found \(64, 64\) of float32"),
        (np.full((64, 64), 255, np.uint8), "mask: expected 64 x 64 values in 0..1"),
        (np.ones((32, 32), np.float32), r"mask: expected 64 x 64 values in 0..1, found \(32, 32\)"),
    ],
)
def test_a_mask_of_nobody_or_of_no_numbers_is_refused(mask, words):
    with pytest.raises(PhotoError, match=words):
        make_source(crop_face(PHOTO, LANDMARKS, 64), CONFIG, mask)


@pytest.mark.parametrize(
    "pixels", [PHOTO / 255, PHOTO[..., 0], np.dstack([PHOTO, PHOTO[..., 0]]), PHOTO[:0], PHOTO.astype(np.int64)]
)
def test_pixels_that_are_no_photo_are_refused(pixels):
    with pytest.raises(PhotoError, match=r"the photo: expected uint8 \(height, width, 3\) RGB, found "):
        source_of_photo(pixels, CONFIG, landmarks=LANDMARKS, mask=False)
