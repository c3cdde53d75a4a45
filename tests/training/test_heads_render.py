import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilayer.runtime.face.crop import crop_box
from bilayer.training.heads.identity import sample_identity
from bilayer.training.heads.load import load_head_model
from bilayer.training.heads.pose import HeadPose, neutral_pose, sample_pose
from bilayer.training.heads.render import render_head
from bilayer.training.heads.scene import JITTER_CENTRE, JITTER_ZOOM

ICT = Path(__file__).parents[3] / "shared" / "data" / "ict-facekit"
needs_ict = pytest.mark.skipif(not ICT.is_dir(), reason="the reduced ICT-FaceKit model is not here")
SIZE = 128
EYES = {"L": ((43, 47), (44, 46)), "R": ((37, 41), (38, 40))}


@pytest.fixture(scope="module", params=["ellipsoid", pytest.param("ict", marks=needs_ict)])
def model(request):
    return load_head_model(None if request.param == "ellipsoid" else ICT)


@pytest.fixture(scope="module")
def ellipsoid():
    return load_head_model(None)


@pytest.fixture(scope="module")
def people(model):
    return [sample_identity(model, seed) for seed in (0, 3, 6)]


def pose_with(model, weights=None, **settings_):
    pose = neutral_pose(model)
    for name, weight in (weights or {}).items():
        pose.weights[model.expression_index(name)] = weight
    return replace(pose, **settings_)


def digest(head):
    arrays = (head.image, head.mask, head.landmarks, head.coords)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def test_a_frame_has_the_promised_arrays(model, people):
    head = render_head(model, people[0], sample_pose(model, 1), SIZE)
    assert (head.image.shape, head.image.dtype) == ((SIZE, SIZE, 3), np.uint8)
    assert (head.mask.shape, head.mask.dtype) == ((SIZE, SIZE), np.uint8)
    assert (head.landmarks.shape, head.landmarks.dtype) == ((68, 2), np.float32)
    assert (head.coords.shape, head.coords.dtype) == ((SIZE, SIZE, 2), np.float16)
    assert np.nanmin(head.coords) >= -1
    assert np.nanmax(head.coords) <= 1


# --- determinism ------------------------------------------------------------------------------------------------------

CHILD = """
import hashlib
from pathlib import Path
from bilayer.training.heads.identity import sample_identity
from bilayer.training.heads.load import load_head_model
from bilayer.training.heads.pose import sample_pose
from bilayer.training.heads.render import render_head
model = load_head_model({path})
head = render_head(model, sample_identity(model, 5), sample_pose(model, 7), {size})
arrays = (head.image, head.mask, head.landmarks, head.coords)
print(hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest())
"""


@pytest.mark.parametrize("source", ["None", pytest.param(f"Path({str(ICT)!r})", marks=needs_ict)])
def test_another_process_with_other_threads_draws_the_same_bytes(source):
    model = load_head_model(None if source == "None" else ICT)
    expected = digest(render_head(model, sample_identity(model, 5), sample_pose(model, 7), SIZE))
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "99",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
    }
    code = CHILD.format(path=source, size=SIZE)
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert child.stdout.strip() == expected


def test_threads_draw_what_one_thread_draws(model, people):
    jobs = [(person, sample_pose(model, seed)) for seed, person in enumerate(people * 3)]
    alone = [digest(render_head(model, person, pose, SIZE)) for person, pose in jobs]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda job: digest(render_head(model, *job, SIZE)), jobs))
    assert together == alone


def test_seeds_tell_people_and_poses_apart(ellipsoid):
    heads = [
        render_head(ellipsoid, sample_identity(ellipsoid, person), sample_pose(ellipsoid, frame), 64)
        for person, frame in ((0, 0), (1, 0), (0, 1))
    ]
    assert len({digest(head) for head in heads}) == 3


def test_rendering_leaves_the_pose_as_it_was(ellipsoid):
    pose = pose_with(ellipsoid, {"eyeBlink_L": 0.8})
    before = pose.weights.copy()
    render_head(ellipsoid, sample_identity(ellipsoid, 0), pose, 64)
    np.testing.assert_array_equal(pose.weights, before)


# --- framing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_a_frontal_neutral_head_is_framed_like_a_cropped_photo(ellipsoid, seed):
    size = 1024
    head = render_head(ellipsoid, sample_identity(ellipsoid, seed), neutral_pose(ellipsoid), size, 1)
    box = crop_box(head.landmarks)
    zoom = box.side / size  # of the face
    assert JITTER_ZOOM[0] - 0.01 < zoom < JITTER_ZOOM[1] + 0.01
    # What the jitter leaves of the crop's centre, with the zoom about the frame's centre taken out.
    offset = (np.array([box.x, box.y]) - size / 2) / size
    assert np.abs(offset).max() < JITTER_CENTRE + 0.005


# --- landmarks --------------------------------------------------------------------------------------------------------


def test_landmarks_lie_on_the_person(model, people):
    for seed, person in enumerate(people):
        head = render_head(model, person, sample_pose(model, seed), SIZE)
        x, y = np.clip(head.landmarks.T.astype(int), 1, SIZE - 2)
        inside = (head.landmarks > 1).all(axis=1) & (head.landmarks < SIZE - 2).all(axis=1)
        near = np.max([head.mask[y + dy, x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=0)
        assert (near[inside] > 0).all()


def test_landmarks_do_not_depend_on_the_samples_and_scale_with_the_size(model, people):
    pose = sample_pose(model, 2)
    small = render_head(model, people[0], pose, 64, 1).landmarks
    large = render_head(model, people[0], pose, 128, 2).landmarks
    np.testing.assert_allclose(large, 2 * small, atol=1e-3)


def test_head_turns_move_landmarks_as_named(model, people):
    def nose(**turn):
        points = render_head(model, people[0], pose_with(model, **turn), SIZE).landmarks
        return points[30] - points[[36, 45]].mean(axis=0)

    straight = nose()
    assert nose(yaw=25.0)[0] > straight[0] + 5
    assert nose(yaw=-25.0)[0] < straight[0] - 5
    assert nose(pitch=15.0)[1] < straight[1] - 2
    tilted = render_head(model, people[0], pose_with(model, roll=15.0), SIZE).landmarks
    assert tilted[45, 1] < tilted[36, 1] - 5  # the crown to the picture's left: its right eye rises


def test_translation_and_scale_move_and_enlarge(model, people):
    plain = render_head(model, people[0], neutral_pose(model), SIZE).landmarks
    moved = render_head(model, people[0], pose_with(model, translation=(1.0, 1.0)), SIZE).landmarks
    larger = render_head(model, people[0], pose_with(model, scale=1.1), SIZE).landmarks
    assert ((moved - plain) * (1, -1)).min() > 2
    np.testing.assert_allclose(np.ptp(larger, axis=0), 1.1 * np.ptp(plain, axis=0), rtol=1e-4)


def test_jaw_open_parts_the_inner_lips(model, people):
    for person in people:
        shut = render_head(model, person, neutral_pose(model), SIZE).landmarks
        agape = render_head(model, person, pose_with(model, {"jawOpen": 0.8}), SIZE).landmarks
        assert agape[66, 1] - agape[62, 1] > shut[66, 1] - shut[62, 1] + 4
        assert agape[8, 1] > shut[8, 1] + 2


@pytest.mark.parametrize("side", ["L", "R"])
def test_a_blink_shuts_its_eye_and_no_other(model, people, side):
    other = "R" if side == "L" else "L"

    def opening(points, eye):
        return np.mean([points[lower, 1] - points[upper, 1] for upper, lower in EYES[eye]])

    for person in people:
        awake = render_head(model, person, neutral_pose(model), SIZE).landmarks
        wink = render_head(model, person, pose_with(model, {f"eyeBlink_{side}": 1.0}), SIZE).landmarks
        assert opening(awake, side) > 2
        assert abs(opening(wink, side)) < 0.2 * opening(awake, side)
        assert opening(wink, other) == pytest.approx(opening(awake, other), rel=0.05)


def test_a_shut_eye_hides_the_eyeball(model, people):
    """With eyes painted green, lids that shut leave no green."""

    def green(person, pose):
        eyes = person.eyes.copy()
        eyes[3:] = (0, 4, 0)
        image = render_head(model, replace(person, eyes=eyes), pose, 256).image.astype(int)
        return (image[..., 1] > image[..., 0] + image[..., 2] + 30).sum()

    shut = pose_with(model, {"eyeBlink_L": 1.0, "eyeBlink_R": 1.0})
    for person in people:
        always = green(replace(person, vertices=person.vertices + 1e3), shut)  # the background's, with nobody there
        awake = green(person, neutral_pose(model)) - always
        assert awake > 100
        assert green(person, shut) - always < 0.03 * awake


# --- mask and coordinates ---------------------------------------------------------------------------------------------


def test_the_mask_counts_covered_samples(model, people):
    """Mask at two samples per axis = the mean of the hard mask at twice the size."""
    pose = sample_pose(model, 4)
    soft = render_head(model, people[1], pose, SIZE, 2).mask
    hard = render_head(model, people[1], pose, 2 * SIZE, 1).mask
    assert set(np.unique(hard)) == {0, 255}
    share = (hard.reshape(SIZE, 2, SIZE, 2) > 0).mean(axis=(1, 3))
    np.testing.assert_array_equal(soft, np.floor(share * 255 + 0.5).astype(np.uint8))
    assert 0.2 < share.mean() < 0.9


def test_a_person_has_no_holes(model, people):
    import cv2

    for seed, person in enumerate(people):
        head = render_head(model, person, pose_with(model, {"jawOpen": 0.6}, yaw=20.0 * (seed - 1)), 256)
        x, y = head.landmarks[:27].astype(np.int32).T
        face = np.zeros_like(head.mask)
        cv2.fillConvexPoly(face, cv2.convexHull(np.stack([x, y], axis=1)), 1)
        face = cv2.erode(face, np.ones((9, 9), np.uint8)).astype(bool)
        assert (head.mask[face] == 255).all()


def test_coordinates_are_where_the_person_is_but_for_the_mouths_inside(model, people):
    pose = pose_with(model, {"jawOpen": 0.9})
    head = render_head(model, people[0], pose, SIZE, 1)
    bare = np.isnan(head.coords).any(axis=-1)
    np.testing.assert_array_equal(np.isnan(head.coords).all(axis=-1), bare)
    assert bare[head.mask == 0].all()
    low, high = head.landmarks[60:68].min(axis=0) - 2, head.landmarks[60:68].max(axis=0) + 3
    rows, columns = np.nonzero(bare & (head.mask > 0))
    assert len(rows) > 10
    assert (columns >= low[0]).all()
    assert (columns <= high[0]).all()
    assert (rows >= low[1]).all()
    assert (rows <= high[1]).all()
    x, y = head.landmarks[[62, 66]].mean(axis=0).astype(int)
    assert bare[y, x]


def test_a_shut_mouth_shows_next_to_nothing_of_its_inside(model, people):
    head = render_head(model, people[0], neutral_pose(model), SIZE)
    inside = np.isnan(head.coords).any(axis=-1) & (head.mask == 255)
    assert inside.sum() < 0.002 * SIZE * SIZE


VISIBLE = [*range(17, 36), 48, 50, 51, 52, 54, 56, 57, 58]  # points that moderate turns do not hide


@pytest.mark.parametrize("weights", [{}, {"jawOpen": 0.5}, {"mouthSmile_L": 0.7, "mouthSmile_R": 0.7}])
def test_a_point_of_the_face_keeps_its_coordinate(model, people, weights):
    """The oracle: at each landmark's pixel stands the coordinate of its vertex on the neutral generic head."""
    x, y, z = model.vertices[model.landmarks].T
    expected = np.stack([np.sin(np.arctan2(x, z + 0.5) / 2), -(y + 3) / 18], axis=1)
    for person, turn in zip(people, ((0, 0), (12, 5), (-12, -5)), strict=True):
        pose = pose_with(model, weights, yaw=float(turn[0]), pitch=float(turn[1]))
        head = render_head(model, person, pose, 256)
        columns, rows = head.landmarks.astype(int).T
        error = np.abs(head.coords[rows, columns].astype(float) - expected)[VISIBLE]
        assert np.nanmedian(error) < 0.006
        assert np.nanquantile(error, 0.9) < 0.02
        assert np.isnan(error).mean() < 0.1


# --- poses ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_sampled_poses_stay_in_range(seed):
    model = load_ellipsoid()
    pose, again = sample_pose(model, seed), sample_pose(model, seed)
    np.testing.assert_array_equal(pose.weights, again.weights)
    assert (pose.yaw, pose.pitch, pose.roll) == (again.yaw, again.pitch, again.roll)
    assert pose.weights.min() >= 0
    assert pose.weights.max() <= 1.1 + 1e-6
    assert abs(pose.yaw) <= 42
    assert abs(pose.pitch) <= 20
    assert abs(pose.roll) <= 18


_loaded: list = []


def load_ellipsoid():
    if not _loaded:
        _loaded.append(load_head_model(None))
    return _loaded[0]


def test_poses_are_expressive(model):
    poses = np.stack([sample_pose(model, seed).weights for seed in range(400)])

    def share(name, above):
        return (poses[:, model.expression_index(name)] > above).mean()

    assert 0.3 < share("jawOpen", 0.25) < 0.8
    assert 0.10 < share("eyeBlink_L", 0.35) < 0.25
    assert 0.2 < share("mouthSmile_L", 0.2) < 0.5
    assert share("mouthPucker", 0.2) > 0.08


def test_the_neutral_pose_is_still(model):
    pose = neutral_pose(model)
    assert isinstance(pose, HeadPose)
    assert not pose.weights.any()
    assert (pose.yaw, pose.pitch, pose.roll, pose.translation, pose.scale) == (0, 0, 0, (0, 0), 1)
