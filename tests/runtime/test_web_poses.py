"""The page's module encodes, retargets and smooths poses as Python does: asked under Node.js, as built."""

import numpy as np
import pytest

from bilayer.runtime.bundle import PoseInput
from bilayer.runtime.engines.pose_encoding import PoseEncoder
from bilayer.runtime.errors import LandmarkError
from bilayer.runtime.motion.drivers import DriverFrame
from bilayer.runtime.motion.quality import problems
from bilayer.runtime.motion.retarget import Gains, Retargeter
from bilayer.runtime.motion.smoothing import OneEuro, PoseSmoother, latency_ms
from bilayer.runtime.motion.track import demo_motion
from tests.runtime.synthetic_faces import BROAD, NARROW, performance
from tests.runtime.web_module import ask, needs_node, value

pytestmark = needs_node


@pytest.mark.parametrize("harmonics", [0, 1, 4, 16])
def test_poses_are_encoded_as_python_encodes_them(harmonics):
    pose = np.random.default_rng(harmonics).uniform(-1.5, 1.5, 136).astype(np.float32)
    encoder = PoseEncoder(PoseInput("pose", 272 * harmonics or 136, harmonics), "test")
    found = value({"call": "encode", "pose": pose.tolist(), "harmonics": harmonics})
    np.testing.assert_allclose(found, encoder.encode(pose), atol=1e-6)


@pytest.mark.parametrize("mode", ["relative", "procrustes", "absolute"])
@pytest.mark.parametrize(("source", "driver"), [(NARROW, BROAD), (BROAD, NARROW)], ids=["to narrow", "to broad"])
def test_the_same_track_gives_the_same_poses(mode, source, driver):
    own = performance(source, size=1.0, at=(0.0, 0.0))[0] / 2
    frames = np.float32(performance(driver, size=160.0, at=(300.0, 200.0)))
    retargeter = Retargeter(own, mode)
    expected = [retargeter.pose(frame) for frame in frames]
    request = {"source": own.ravel().tolist(), "frames": frames.reshape(len(frames), -1).tolist()}
    found = value({"call": "retarget", "mode": mode, **request})
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.05


def test_a_reference_of_ones_own_and_odd_faces_are_taken_as_python_takes_them():
    rng = np.random.default_rng(1)
    source = np.float32(performance(NARROW, size=1.0, at=(0.0, 0.0))[0] / 2)
    frames = np.float32(performance(BROAD, size=90.0, at=(200.0, 150.0)))
    noisy = frames + rng.normal(0, 4, frames.shape).astype(np.float32)  # lips cross, lids too
    for mode in ("relative", "procrustes"):
        retargeter = Retargeter(source, mode, frames[7])
        expected = [retargeter.pose(frame) for frame in noisy]
        request = {"source": source.ravel().tolist(), "reference": frames[7].ravel().tolist()}
        found = value({"call": "retarget", "mode": mode, **request, "frames": noisy.reshape(len(noisy), -1).tolist()})
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_faces_that_are_none_are_refused_where_python_refuses_them():
    source = np.float32(performance(NARROW, size=1.0, at=(0.0, 0.0))[0])
    one_place, mirrored, thin = np.ones_like(source), source * [-1, 1], source * [0.04, 1]
    line = np.outer(np.linspace(-1, 1, 68), [0.3, 0.8]) + np.random.default_rng(2).uniform(-0.02, 0.02, (68, 2))
    pairs = [(source, one_place), (one_place, source), (source, source), (source, mirrored), (line, source)]
    for own, frame in (*pairs, (source, line), (source, thin), (source, source * [0.15, 1])):
        try:
            Retargeter(own).pose(frame)
            said = None
        except LandmarkError as error:
            said = error
        request = {"source": own.ravel().tolist(), "frames": [np.asarray(frame).ravel().tolist()]}
        (answer,) = ask({"call": "retarget", "mode": "relative", **request})
        assert answer.get("error") == (None if said is None else "LandmarkError"), (said, answer)
        assert said is None or answer["message"] == str(said)


@pytest.mark.parametrize("mode", ["relative", "procrustes"])
@pytest.mark.parametrize("gains", [Gains(head=0), Gains(mouth=0), Gains(eyes=0), Gains(0.4, 1.7, 2.5)], ids=str)
def test_gains_are_pythons(mode, gains):
    """What they do is asked of Python's in test_smoothing.py."""
    source = np.float32(performance(NARROW, size=1.0, at=(0.0, 0.0))[0] / 2)
    frames = np.float32(performance(BROAD, size=160.0, at=(300.0, 200.0)))
    retargeter = Retargeter(source, mode, gains=gains)
    expected = [retargeter.pose(frame) for frame in frames]
    request = {"call": "retarget", "mode": mode, "source": source.ravel().tolist(), "gains": vars(gains)}
    found = value({**request, "frames": frames.reshape(len(frames), -1).tolist()})
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_built_in_motion_is_pythons():
    source = np.float32(performance(BROAD, size=1.0, at=(0.1, -0.1))[0] / 2)
    track = demo_motion(source)
    times = (np.arange(len(track)) / track.fps).tolist()
    found = np.array(value({"call": "demo", "source": source.ravel().tolist(), "times": [*times, 6.0]}))
    np.testing.assert_allclose(found[:-1], track.landmarks.reshape(len(track), -1), atol=1e-5)
    np.testing.assert_allclose(found[-1], found[0], atol=1e-6)


def test_smoothing_is_pythons():
    """One-euro filters, and poses smoothed by them: a noisy performance, seen at uneven times."""
    rng = np.random.default_rng(2)
    source = np.float32(performance(NARROW, size=1.0, at=(0.0, 0.0))[0] / 2)
    track = demo_motion(source).landmarks
    poses = (track + rng.normal(0, 0.3 / 128, track.shape)).astype(np.float32).reshape(len(track), -1)
    times = np.cumsum(rng.uniform(0.01, 0.08, len(poses)))
    times[40] = times[39]  # no time has passed
    plain = OneEuro(1.5, 0.7)
    asked = {"call": "smooth", "cutoff": 1.5, "haste": 0.7, "values": poses.tolist(), "times": times.tolist()}
    filtered = [plain(pose, now) for pose, now in zip(poses, times, strict=True)]
    np.testing.assert_allclose(value(asked), filtered, atol=1e-9)
    for amount in (0, 0.3, 0.75, 1):
        smoother = PoseSmoother(source, amount)
        expected = [smoother(pose, now) for pose, now in zip(poses, times, strict=True)]
        request = {"call": "poses", "source": source.ravel().tolist(), "amount": amount, "times": times.tolist()}
        np.testing.assert_allclose(value({**request, "poses": poses.tolist()}), expected, atol=1e-6)
    amounts = [0, 0.05, 0.5, 1]
    np.testing.assert_allclose(value({"call": "latency", "amounts": amounts}), list(map(latency_ms, amounts)))
    (refused,) = ask({"call": "latency", "amounts": [1.01]})
    assert refused == {"error": "InputError", "message": "smoothing: expected 0 to 1, found 1.01"}


def test_a_drivers_problems_are_pythons():
    rng = np.random.default_rng(4)
    good = performance(BROAD, size=160.0, at=(300.0, 200.0))[0]
    frames = [np.float32(good * rng.uniform(0.1, 0.6) + rng.normal(0, 2, good.shape)) for _ in range(40)]
    for frame in frames:
        frame[27] += (frame[16] - frame[0]) * rng.uniform(-0.6, 0.6)
    lights = [None, *rng.uniform(0, 80, 39)]
    expected = [
        [name.replace("_", " ") for name, _ in problems(DriverFrame(frame, None, light=light))]
        for frame, light in zip(frames, lights, strict=True)
    ]
    assert {name for names in expected for name in names} == {"too small", "too dark", "turned"}
    sent = [frame.ravel().tolist() for frame in frames]
    assert value({"call": "problems", "frames": [*sent, None], "lights": [*lights, None]}) == [*expected, ["lost"]]
