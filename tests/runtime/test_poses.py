"""Which poses of a track an avatar is measured on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bilayer.runtime.errors import InputError
from bilayer.runtime.motion.poses import choose_poses, load_poses, spread
from bilayer.runtime.motion.retarget import driving_poses
from bilayer.runtime.motion.track import Track
from bilayer.runtime.motion.track_files import write_track
from tests import golden

SOURCE = golden.load("case_a/preproc.npz")["source_poses"][0, 0]  # (136,)


@given(length=st.integers(1, 500), count=st.integers(1, 600))
def test_frames_are_spread_evenly_from_the_first(length, count):
    chosen = spread(length, count)
    assert (chosen[0], len(chosen)) == (0, min(count, length))
    assert 0 < chosen[-1] + 1 <= length
    gaps = np.diff([*chosen, length])  # the last to where a loop begins again
    assert gaps.max() - gaps.min() <= 1


def test_without_a_track_it_is_the_built_in_motion_which_begins_with_the_source():
    poses, rate = load_poses(SOURCE)
    assert (poses.shape[1], rate) == (136, 25)
    np.testing.assert_array_equal(poses[0], SOURCE)
    chosen = choose_poses(SOURCE, 4)
    np.testing.assert_array_equal(chosen, poses[spread(len(poses), 4)])
    assert len({pose.tobytes() for pose in chosen}) == 4


def test_a_track_is_retargeted_to_the_source(tmp_path):
    moved = np.stack([SOURCE.reshape(-1, 2) * 100 + 200 + 5 * i for i in range(3)]).astype(np.float32)
    track = Track(moved, 30)
    write_track(tmp_path / "track.npz", track)
    poses, rate = load_poses(SOURCE, tmp_path / "track.npz")
    assert (poses.shape, rate) == ((3, 136), 30)
    np.testing.assert_array_equal(poses, driving_poses(SOURCE, track))
    np.testing.assert_array_equal(choose_poses(SOURCE, 2, tmp_path / "track.npz"), poses[[0, 1]])
    absolute, _ = load_poses(SOURCE, tmp_path / "track.npz", "absolute")
    assert not np.allclose(absolute, poses)


def test_no_pose_at_all_is_refused():
    with pytest.raises(InputError, match="expected 1 or more, found 0"):
        choose_poses(SOURCE, 0)
