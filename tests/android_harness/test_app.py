"""The Android app where there is no Android: its core compiled and run on a JVM with the native sampler, the rest
compiled against declarations of the libraries it uses (app_stubs.txt)."""

import hashlib
import json
import re
import shutil
import zipfile

import numpy as np
import pytest

from bilayer.android_harness.report.tables import make_report
from bilayer.android_harness.results import read_result
from bilayer.runtime import Retargeter, crop_box, pose_vector
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.face.mesh import _to_ibug
from bilayer.runtime.motion.poses import spread
from bilayer.runtime.player import read_lids, read_texture
from bilayer.runtime.sampler.compositor import FrameCompositor
from tests.android_harness.app_build import app_program, run_check
from tests.android_harness.conftest import make_bundle
from tests.runtime.conftest import CASE
from tests.runtime.test_lids import give_lids, with_eyes
from tests.runtime.test_web_lids import LIDS_GIVEN


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return app_program(tmp_path_factory)


@pytest.fixture(scope="module")
def inputs(exported_folder, tmp_path_factory):
    """A bundle, tracks, a network's outputs, and files that are none."""
    folder = tmp_path_factory.mktemp("inputs")
    bundle = make_bundle(exported_folder, folder / "bundle", 3, "NHWC")
    text = (bundle / "avatar.json").read_text()  # frames of another size than the network's results
    (bundle / "avatar.json").write_text(text.replace('"image_size": 64,', '"image_size": 64, "frame_size": 96,'))
    rng = np.random.default_rng(0)
    points = np.concatenate([CASE["target_landmarks"], CASE["target_landmarks"] + rng.normal(0, 3, (1, 68, 2))])
    points = points.astype(np.float32)
    np.save(folder / "track.npy", points)
    (folder / "track.json").write_text(json.dumps({"fps": 30, "landmarks": points.tolist()}))
    (rng.random((478, 2)) * 500).astype("<f4").tofile(folder / "mesh")
    for number in range(len(points)):
        rng.uniform(-1.2, 1.2, (64, 64, 6)).astype("<f4").tofile(folder / f"layers_{number}")
    contract = (bundle / "avatar.json").read_text()
    for name, change in {
        "no json": None, "not json": lambda text: text[:218],
        "format": lambda text: text.replace("bilayer-avatar", "x"),
        "pose": lambda text: text.replace('"width": 136', '"width": 135'),
        "texture": lambda text: re.sub(r'("texture": \{[^}]*"sha256": ")..', r"\1zz", text),
        "outside": lambda text: text.replace('"avatar.safetensors"', '"../avatar.safetensors"'),
    }.items():  # fmt: skip
        shutil.copytree(bundle, folder / "broken" / name)
        (folder / "broken" / name / "avatar.json").unlink()
        if change:
            (folder / "broken" / name / "avatar.json").write_text(change(contract))
    give_lids(shutil.copytree(bundle, folder / "blinking"))
    blinks(bundle).astype("<f4").tofile(folder / "blinks")
    for name, (tensors, lids) in LIDS_GIVEN.items():
        give_lids(shutil.copytree(bundle, folder / "lids" / name), tensors, lids)
    (folder / "tracks").mkdir()
    np.save(folder / "tracks/short.npy", points[:, :67])
    np.save(folder / "tracks/nan.npy", points * np.nan)
    (folder / "tracks/deep.json").write_text("[" * 1000)
    (folder / "tracks/deeper.json").write_text('{"a": [' * 300_000)
    (folder / "tracks/after.json").write_text(json.dumps(points.tolist()) + " 1")
    (folder / "tracks/huge.json").write_text(json.dumps((points * 0).tolist()).replace("0.0", "1e999", 1))
    (folder / "tracks/words.json").write_text(json.dumps((points * 0).tolist()).replace("0.0", '"0.0"', 1))
    (folder / "tracks/good.json").write_text(json.dumps(points.tolist()))
    with zipfile.ZipFile(folder / "split.apk", "w") as package:
        package.writestr("lib/arm64-v8a/libx.so", b"a library")
    (folder / "any.json").write_text(json.dumps({'a\n"é😀': [1.5, True, None, {}, [], "\u0007\\"]}))
    return folder


def blinks(folder):
    """Poses (6, 136) of eyes that shut, one by one, and open again."""
    source = np.float32(read_bundle(folder).contract.source.pose).reshape(68, 2)
    return np.array(
        [with_eyes(opening, source).ravel() for opening in ((1, 1), (0, 1), (0, 0.5), (1, 0), (1, 0), (1, 1))]
    )


@pytest.fixture(scope="module")
def said(program, inputs):
    """What the program printed; its files are in inputs / "kotlin"."""
    return run_check(program, "App_checkKt", inputs)


def floats(inputs, name):
    return np.fromfile(inputs / "kotlin" / name, "<f4")


@pytest.mark.slow
def test_files_are_read_as_in_python(said, inputs):
    bundle = read_bundle(inputs / "bundle")
    assert np.array_equal(floats(inputs, "texture"), read_texture(bundle).ravel())
    for expected in (
        "no json: InputException: ", "expected a bundle with one .json",
        "not json: InputException: ", "avatar.json: JSON: End of input at character 2",
        "format: InputException: ", "format: expected bilayer-avatar",
        "pose: InputException: ", "input.width: expected 136",
        "texture: InputException: ", "avatar.safetensors: not the file that was exported",
        "outside: InputException: ", "files.texture.name: expected a file beside",
        "short.npy: InputException: ", "expected a (T, 68, 2) array",
        "nan.npy: InputException: ", "expected finite numbers",
        "deep.json: InputException: ", "JSON: expected less nesting",
        "deeper.json: InputException: ", "deeper.json: JSON: expected less nesting",
        "after.json: InputException: ", "JSON: expected nothing more",
        "huge.json: InputException: ", "huge.json: expected finite numbers",
        "words.json: InputException: ", "expected 68 (x, y) pairs a frame",
        "good.json: 25.0", "IllegalArgumentException: rgba: expected a direct buffer",
    ):  # fmt: skip
        assert expected in said
    assert json.loads(said[said.index("\n{") :]) == json.loads((inputs / "any.json").read_text())


@pytest.mark.slow
def test_poses_are_those_of_python(said, inputs):
    assert "network      42.0 ms, together     23.8 fps" in said
    points = np.load(inputs / "track.npy")
    relative = Retargeter(np.float32(read_bundle(inputs / "bundle").contract.source.pose), "relative")
    for number, landmarks in enumerate(points):
        assert np.abs(floats(inputs, f"relative_{number}") - relative.pose(landmarks)).max() < 1e-6
        assert np.array_equal(floats(inputs, f"absolute_{number}"), pose_vector(landmarks, crop_box(landmarks)))
    mesh = np.fromfile(inputs / "mesh", "<f4").reshape(-1, 2)
    assert np.array_equal(floats(inputs, "mesh"), _to_ibug(mesh).ravel())
    phases = floats(inputs, "relative_0")[:, None] * np.float32(np.pi) * np.float32([1, 2, 4])
    expected = np.concatenate([np.sin(phases).ravel(), np.cos(phases).ravel()])
    assert np.abs(floats(inputs, "encoded") - expected).max() < 1e-6


@pytest.mark.slow
def test_frames_are_those_of_the_python_sampler(said, inputs):
    bundle = read_bundle(inputs / "bundle")
    seg = bundle.contract.outputs.seg
    for premultiplied in (False, True):
        compositor = FrameCompositor(
            read_texture(bundle), bundle.contract.align_corners, mask_scale=seg.scale, mask_offset=seg.offset,
            alpha="premultiplied" if premultiplied else "straight", engine="numpy", size=96,
        )  # fmt: skip
        for number in range(len(np.load(inputs / "track.npy"))):
            layers = np.fromfile(inputs / f"layers_{number}", "<f4").reshape(64, 64, 6).transpose(2, 0, 1)
            planes = [np.ascontiguousarray(layers[part]) for part in (slice(0, 2), slice(2, 5), slice(5, 6))]
            expected = compositor.render(*planes).astype(int)
            found = np.fromfile(inputs / "kotlin" / f"frame_{number}_{str(premultiplied).lower()}", np.uint8)
            assert np.abs(expected - found.reshape(expected.shape)).max() == 0


@pytest.mark.slow
def test_its_result_is_one_of_bilayer_device(said, inputs):
    result = read_result(inputs / "kotlin" / "qcom.json")
    assert (result.measured_on, result.device.model, result.tools.route) == ("device", 'Phone "1"\u0007é😀', "app")
    assert result.model.converted_sha256 == read_bundle(inputs / "bundle").contract.files.dlc.sha256
    (row,) = result.rows
    assert (row.latency.total_ms.median, row.latency.init_ms.median, row.latency.forward_ms) == (40.0, 900.5, None)
    assert (row.throttled, row.parity) == (["thermal status 3 of 6"], None)
    assert result.sampler.felt.frame_ms.median == 1.0
    assert "40.00 (40.00 to 40.00)" in make_report([result]).markdown()
    emulated = read_result(inputs / "kotlin" / "ranchu.json")
    assert (emulated.measured_on, emulated.rows[0].latency, emulated.sampler.felt) == ("emulated", None, None)
    assert "40.00" not in make_report([emulated]).markdown()


@pytest.mark.slow
def test_frames_on_a_surface_are_those_of_the_python_sampler(said, inputs):
    """Kotlin, JNI, OpenGL ES and the shader; the surface is memory, which only this test reads back."""
    lines = [line for line in said.splitlines() if line.startswith("screen: ")]
    refused = "layers: expected 2 planes of 4096 numbers, found 7; InputException: layers: the network gave []"
    assert lines == [f"screen: InputException: {refused}"] * 2
    for number in range(len(np.load(inputs / "track.npy"))):
        expected = np.fromfile(inputs / "kotlin" / f"frame_{number}_true", np.uint8).astype(int)
        for hardware, alike in ((False, 0.9999), (True, 0.98)):
            found = np.fromfile(inputs / "kotlin" / f"screen_{number}_{str(hardware).lower()}", np.uint8)
            assert np.abs(expected - found).max() <= 1
            assert np.mean(expected == found) >= alike


@pytest.mark.slow
def test_eyes_are_shut_as_the_python_player_shuts_them(said, inputs):
    bundle = read_bundle(inputs / "blinking")
    texture, (align_corners, seg) = read_texture(bundle), (bundle.contract.align_corners, bundle.contract.outputs.seg)
    lids = read_lids(bundle, texture)
    compositor = FrameCompositor(
        texture, align_corners, mask_scale=seg.scale, mask_offset=seg.offset, alpha="premultiplied", engine="numpy",
        size=96,
    )  # fmt: skip
    layers = np.fromfile(inputs / "layers_0", "<f4").reshape(64, 64, 6).transpose(2, 0, 1)
    planes = [np.ascontiguousarray(layers[part]) for part in (slice(0, 2), slice(2, 5), slice(5, 6))]
    frames = set()
    for number, pose in enumerate(np.fromfile(inputs / "blinks", "<f4").reshape(-1, 136)):
        lids.show(pose)
        assert np.array_equal(floats(inputs, f"blink_texture_{number}"), texture.ravel())
        expected = compositor.render(*planes).astype(int)
        frames.add(expected.tobytes())
        found = np.fromfile(inputs / "kotlin" / f"blink_frame_{number}", np.uint8).reshape(expected.shape)
        assert np.array_equal(expected, found)
        for hardware, alike in ((False, 0.9999), (True, 0.98)):
            name = f"blink_screen_{number}_{str(hardware).lower()}"
            found = np.fromfile(inputs / "kotlin" / name, np.uint8).reshape(expected.shape)
            assert np.abs(expected - found).max() <= 1
            assert np.mean(expected == found) >= alike
    assert len(frames) == 4
    told = [line.removeprefix("blink: ") for line in said.splitlines() if line.startswith("blink: ")]
    refused = "IllegalArgumentException: texels: expected a part of the texture"
    assert told == [refused, *2 * [*(f"{count} laid in" for count in (0, 1, 1, 2, 0, 1)), refused]]


@pytest.mark.slow
def test_lids_that_do_not_fit_are_one_line(said):
    found = dict(re.findall(r"^lids ([^:]+): (\w+)", said, re.MULTILINE))
    assert found.keys() == LIDS_GIVEN.keys()
    assert {name for name, what in found.items() if what != "InputException"} == {"good", "at the edge"}


@pytest.mark.slow
def test_a_view_draws_what_it_is_asked_for_and_survives_what_goes_wrong(said, inputs):
    count = len(np.load(inputs / "track.npy"))
    assert [line.removeprefix("view: ") for line in said.splitlines() if line.startswith("view: ")] == [
        "2 times at rest, by GPU",  # the second when there was a surface
        f"followed {count}, true",
        f"stopped at {count}",
        "no track",
        "UnsatisfiedLinkError: no library",
        "drawn by nothing",
        "network closed",
        "null",
    ]
    result = read_result(inputs / "kotlin" / "app-result.json")
    assert (result.measured_on, result.why) == ("emulated", ["its processor is x86_64"])
    assert (result.tools.bilayer, result.protocol.poses, result.sampler.layout) == (
        "1.2.3",
        f"{count} of the track",
        "merged",
    )
    assert (result.rows[0].parity, result.rows[0].latency, result.sampler.rows[0].differing_bytes) == (None, None, None)
    assert not list((inputs / "kotlin").glob("*.part"))
    assert f"spread: {spread(20, 8)}\n" in said


@pytest.mark.slow
def test_the_native_library_is_found_where_android_keeps_it(said, inputs):
    assert f"library: {hashlib.sha256(b'a library').hexdigest()}\n" in said
    assert f"file: {hashlib.sha256((inputs / 'any.json').read_bytes()).hexdigest()}\n" in said
    assert "missing: ''\n" in said
