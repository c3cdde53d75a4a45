"""The app moves a warp by its landmark anchors as the Python player does, and refuses the anchors that it refuses."""

import json
import re
import shutil
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from bilayer.runtime.anchors.mover import WarpMover
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.errors import BundleError
from bilayer.runtime.frame import NetworkOutputs
from bilayer.runtime.player import read_texture
from bilayer.runtime.sampler.compositor import FrameCompositor
from tests.android_harness.app_build import app_program, run_check
from tests.android_harness.conftest import make_bundle
from tests.runtime.conftest import POSES

MERGED = {"delta_uv": ("layers", 0, 1.0, 0.0), "lf_rgb": ("layers", 2, 1.0, 0.0), "seg": ("layers", 5, 0.5, 0.5)}
CHANNELS = {"delta_uv": 2, "lf_rgb": 3, "seg": 1}


@dataclass(frozen=True)
class Given:
    """A bundle with anchors, and what its network gives; `outputs` are tensor, first channel, scale and offset."""

    interleaved: bool
    count: int = 68  # of anchors
    outputs: dict = field(default_factory=lambda: MERGED)
    size: int = 64
    frame: int = 96
    align_corners: bool = False
    broken: bool = False  # the warp has numbers that are none


CASES = {
    "interleaved": Given(True),
    "planar": Given(False, count=20, align_corners=True),
    "scaled interleaved": Given(True, outputs=MERGED | {"delta_uv": ("layers", 0, 0.37, -0.02)}),
    "scaled planar": Given(False, outputs=MERGED | {"delta_uv": ("layers", 0, -2.5, 0.3)}),
    "last channels": Given(
        True, outputs={"delta_uv": ("a", 4, 0.5, 0.0), "lf_rgb": ("a", 0, 1.0, 0.0), "seg": ("a", 3, 1.0, 0.0)}
    ),
    "tensors": Given(
        False, outputs={"delta_uv": ("warp", 1, 0.5, 0.1), "lf_rgb": ("low", 0, 2.0, 0.0), "seg": ("mask", 0, 1.0, 0.0)}
    ),
    "no mask": Given(True, outputs={name: MERGED[name] for name in ("delta_uv", "lf_rgb")}),
    "one": Given(True, count=1),
    "small": Given(False, size=17, frame=31),
    "a pixel": Given(True, size=1, frame=8),
    "large": Given(True, size=150, frame=150),
    "not finite": Given(True, broken=True),
    "no anchors": Given(True, count=0),
}


def anchors_of(rng, count):
    landmarks = rng.permutation(68)[:count] if count < 68 else rng.integers(0, 68, count)  # or some twice, some never
    points = [
        {
            "landmark": int(one),
            "x": rng.uniform(-1.2, 1.2),
            "y": rng.uniform(-1.2, 1.2),
            "ridge": 10 ** rng.uniform(-3, 1),
        }
        for one in landmarks
    ]
    return {"reach": rng.uniform(0.05, 0.4), "limit": rng.uniform(0.02, 1), "points": points}


def poses_of(rng):
    """At rest, near it, out of the frame, at one place, and partly no numbers."""
    rest = POSES[-1]
    unknown, endless = rest.copy(), rest.copy()
    unknown[rng.integers(0, 136, 40)] = np.nan
    endless[20:25] = np.inf, -np.inf, np.nan, np.inf, 0
    return np.float32([
        rest, rest + rng.normal(0, 0.1, 136), rest * 3 + 1, rng.uniform(-999, 999, 136), np.zeros(136),
        np.full(136, 0.4), np.full(136, 7), np.float32(1e30) * rest, unknown, endless,
    ])  # fmt: skip


def smooth(rng, channels, size):
    """Numbers (channels, size, size) that change as a network's do: a picture of noise would turn with a last bit."""
    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, size)])
    phases = rng.uniform(-3, 3, (channels, 4, 3))
    waves = np.sin(phases[..., :1, None] * x + phases[..., 1:2, None] * y + phases[..., 2:, None])
    return np.float32(waves.sum(axis=1) * 0.2)


def make_given(folder, bundle, given, rng):
    shutil.copytree(bundle, folder / "bundle")
    path = folder / "bundle/avatar.json"
    contract = json.loads(path.read_text())
    contract |= {"texture_size": contract["image_size"], "image_size": given.size, "frame_size": given.frame}
    contract["align_corners"] = given.align_corners
    outputs = {
        name: {"tensor": tensor, "start": start, "stop": start + CHANNELS[name], "scale": scale, "offset": offset}
        for name, (tensor, start, scale, offset) in given.outputs.items()
    }
    contract["outputs"] = {"seg": None} | outputs
    contract["anchors"] = anchors_of(rng, given.count) if given.count else None
    path.write_text(json.dumps(contract))
    (folder / "tensors").mkdir()
    for name in {one["tensor"] for one in outputs.values()}:
        channels = max(one["stop"] for one in outputs.values() if one["tensor"] == name) + 1  # the last is nobody's
        values = smooth(rng, channels, given.size)
        if given.broken:
            values[0].flat[rng.integers(0, given.size**2, 2000)] = np.nan
            values[1, 30:40, 30:40] = np.inf
        order = (1, 2, 0) if given.interleaved else (0, 1, 2)
        np.ascontiguousarray(values.transpose(order), "<f4").tofile(folder / "tensors" / name)
    if given.interleaved:
        (folder / "interleaved").touch()
    poses_of(rng).astype("<f4").tofile(folder / "poses")


POINT = {"landmark": 3, "x": 0.1, "y": -0.2, "ridge": 0.1}
ANCHORS = {"reach": 0.2, "limit": 0.3, "points": [POINT]}
ENDS = [
    ("reach", [0.01, 2], [0.0099, 2.001, 0, -1, 1e300, "0.2", None, True, []]),
    ("ridge", [0.001, 1000], [0.0009, 1001, 0, 1e300, "a"]),
    ("limit", [1e-9, 2], [0, -0.1, 2.01, {}]),
    ("points", [[POINT] * 68], [[], [POINT] * 69, None, {}, [3], [None], [[]]]),
    ("landmark", [0, 67], [-1, 68, 1.5, "3", None, 1e10]),
    ("x", [3.99, -3.99, 0], [4, -4, 1e300, "0", None]),
    ("y", [3.99, -3.99], [4, -4.5, True]),
]


def faults():
    """Anchors that are good, and that are not, by a name."""
    yield "none", None
    yield "a list", [1]
    for name, good, bad in ENDS:
        for number, value in enumerate([*good, *bad]):
            what = f"{name} {number}"
            if name in POINT:
                yield what, ANCHORS | {"points": [POINT, POINT | {name: value}]}
            else:
                yield what, ANCHORS | {name: value}
        if name in POINT:
            yield f"without {name}", ANCHORS | {"points": [{key: POINT[key] for key in POINT if key != name}]}
        else:
            yield f"without {name}", {key: ANCHORS[key] for key in ANCHORS if key != name}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return app_program(tmp_path_factory)


@pytest.fixture(scope="module")
def inputs(exported_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("anchors")
    bundle = make_bundle(exported_folder, folder / "bundle", 3, "NHWC")
    for seed, (name, given) in enumerate(CASES.items()):
        make_given(folder / "anchored" / name, bundle, given, np.random.default_rng(seed))
    contract = json.loads((bundle / "avatar.json").read_text())
    for name, anchors in faults():
        shutil.copytree(bundle, folder / "faults" / name)
        (folder / "faults" / name / "avatar.json").write_text(json.dumps(contract | {"anchors": anchors}))
    flat = json.loads(json.dumps(contract | {"anchors": ANCHORS}))
    flat["outputs"]["delta_uv"]["scale"] = 1e-60
    shutil.copytree(bundle, folder / "faults/flat")
    (folder / "faults/flat/avatar.json").write_text(json.dumps(flat))
    return folder


@pytest.fixture(scope="module")
def said(program, inputs):
    return run_check(program, "App_anchors_checkKt", inputs)


def planes_of(folder, given):
    """The network's results, scaled but for the mask's."""
    planes = {}
    for name, (tensor, start, scale, offset) in given.outputs.items():
        values = np.fromfile(folder / "tensors" / tensor, "<f4")
        sides = (given.size, given.size)
        values = values.reshape(*sides, -1).transpose(2, 0, 1) if given.interleaved else values.reshape(-1, *sides)
        own = values[start : start + CHANNELS[name]]
        planes[name] = np.ascontiguousarray(own if name == "seg" else own * np.float32(scale) + np.float32(offset))
    return NetworkOutputs.of(planes)


def moved(anchors, outputs, pose):
    """The results by the Python player's mover; landmarks that are nowhere are left out."""
    known = np.isfinite(pose.reshape(68, 2)).all(axis=1)
    points = [point for point in anchors.points if known[point.landmark]] if anchors else []
    if not points:
        return outputs
    mover = WarpMover(replace(anchors, points=points), outputs.delta_uv.shape[-1])
    return mover.move(outputs, np.where(np.isfinite(pose), pose, 0))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_warps_and_frames_are_those_of_the_python_player(said, inputs, name):
    given, folder = CASES[name], inputs / "anchored" / name
    contract = read_bundle(folder / "bundle").contract
    outputs, poses = planes_of(folder, given), np.fromfile(folder / "poses", "<f4").reshape(-1, 136)
    seg = contract.outputs.seg
    scale, offset = (seg.scale, seg.offset) if seg else (1.0, 0.0)
    compositor = FrameCompositor(
        read_texture(read_bundle(folder / "bundle")), given.align_corners, mask_scale=scale, mask_offset=offset,
        alpha="premultiplied", engine="numpy", size=given.frame,
    )  # fmt: skip
    changed = 0
    for number, pose in enumerate(poses):
        expected = moved(contract.anchors, outputs, pose)
        parts = np.split(np.fromfile(inputs / "kotlin" / name / f"planes_{number}", "<f4"), [2 * given.size**2])
        found = parts[0].reshape(2, given.size, given.size)
        np.testing.assert_allclose(found, expected.delta_uv, rtol=1e-6, atol=2e-6)
        rest = [expected.lf_rgb.ravel()] + ([] if expected.seg is None else [expected.seg.ravel()])
        np.testing.assert_array_equal(parts[1], np.concatenate(rest))
        changed += not np.array_equal(found, outputs.delta_uv, equal_nan=True)
        if given.broken:
            continue
        frame = compositor.compose(expected).astype(int)
        for kind, alike in (("frame", 0.999), ("screen", 0.999)):
            pixels = np.fromfile(inputs / "kotlin" / name / f"{kind}_{number}", np.uint8).reshape(frame.shape)
            assert np.abs(frame - pixels).max() <= 1
            assert np.mean(frame == pixels) >= alike
    assert changed == 0 if not given.count else given.size == 1 or changed >= len(poses) // 2


@pytest.mark.slow
def test_a_networks_own_arrays_are_not_moved(said):
    """It may give the same ones for every pose: what is added must not add up."""
    for name, given in CASES.items():
        assert f"{name}: GPU, kept true\n" in said
        if given.count:
            refused = f"InputException: {given.outputs['delta_uv'][0]}: the network gave [none]"
            assert f"{name}: {refused}\n" in said


@pytest.mark.slow
def test_anchors_are_refused_where_the_player_refuses_them(said, inputs):
    found = dict(re.findall(r"^fault ([^:]+): (.+)", said, re.MULTILINE))
    assert len(found) == len(list(faults())) + 1
    assert "avatar.json: outputs.delta_uv.scale: expected another than 0" in found.pop("flat")
    for name, line in found.items():
        try:
            anchors = read_bundle(inputs / "faults" / name).contract.anchors
        except BundleError as error:
            (place,) = re.findall(r"avatar\.json: (anchors[^:]*): (?:expected|missing)", str(error))
            assert re.search(rf"^InputException: .+/avatar\.json: {re.escape(place)}: expected", line), (name, line)
        else:
            assert line == ("null" if anchors is None else str(len(anchors.points))), name
    assert sum(not line.startswith("InputException") for line in found.values()) == 1 + sum(
        len(good) for _, good, _ in ENDS
    )
