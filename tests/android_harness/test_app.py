"""The Android app where there is no Android: its core compiled and run on a JVM with the native sampler, the rest
compiled against declarations of the libraries it uses (app_stubs.txt), its other files parsed."""

import hashlib
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bilayer.android_harness.report.tables import make_report
from bilayer.android_harness.results import read_result
from bilayer.android_harness.routes.vendor import PERFORMANCE_PROFILE
from bilayer.runtime import Retargeter, crop_box, pose_vector
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.face.mesh import _to_ibug
from bilayer.runtime.motion.poses import spread
from bilayer.runtime.player import AvatarPlayer, read_lids, read_texture
from bilayer.runtime.sampler.compositor import FrameCompositor
from tests.android_harness.app_build import APP, CORE, CPP, HERE, app_program, native_flags, needs, run, run_check
from tests.android_harness.conftest import make_bundle
from tests.native_sampler import ARM64, HOST
from tests.runtime.conftest import CASE
from tests.runtime.test_lids import give_lids, with_eyes
from tests.runtime.test_web_lids import LIDS_GIVEN

FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")  # Android 10's own resources


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


def module(name):
    """A module's build file, and its package."""
    text = (APP / name / "build.gradle.kts").read_text()
    return text, re.search(r'namespace = "(.+)"', text)[1]


def test_its_other_files_are_well_formed():
    name = "{http://schemas.android.com/apk/res/android}name"
    activity = ElementTree.parse(APP / "sample/src/main/AndroidManifest.xml").getroot().find("application/activity")
    package = module("sample")[1]
    source = APP / "sample/src/main/java" / package.replace(".", "/") / f"{activity.get(name).removeprefix('.')}.kt"
    assert f"package {package}\n" in source.read_text()
    camera = ElementTree.parse(APP / "camera/src/main/AndroidManifest.xml").getroot()
    assert [one.get(name) for one in camera.findall("uses-permission")] == ["android.permission.CAMERA"]
    for path in APP.rglob("*.kts"):
        text = path.read_text()
        assert text.count("{") == text.count("}")
        assert text.count("(") == text.count(")")
    modules = re.findall(r'":(\w+)"', (APP / "settings.gradle.kts").read_text())
    assert sorted(modules) == sorted(path.parent.name for path in APP.glob("*/build.gradle.kts"))
    library = re.search(r'LIBRARY = "(\w+)"', (CORE / "NativeSampler.kt").read_text())[1]
    cmake = (CPP / "CMakeLists.txt").read_text()
    assert f"add_library({library} SHARED sampler_jni.cpp screen_jni.cpp)" in cmake
    assert all((CPP / source).is_file() for source in re.findall(r"\w+_jni\.cpp", cmake))


def test_the_sample_needs_no_sdk_account_and_fits_a_page():
    assert "backend=litert\n" in (APP / "gradle.properties").read_text()
    files = [path for path in (APP / "sample").rglob("*") if path.is_file() and path.suffix != ".task"]
    assert sum(len(path.read_text().splitlines()) for path in files) < 150  # build file, manifest, blank lines and all
    for backend in ("litert", "ncnn", "snpe"):
        folder = APP / f"library/src/{backend}/java/org/bilayer/avatar"
        (network,) = folder.glob("*Network.kt")
        assert f" = {network.stem}(" in (folder / "Backend.kt").read_text()


def test_the_wrapper_names_its_gradle_by_hash():
    """The jar is made by `gradle wrapper` and not kept: the plugin's version wants Gradle 8.7 at least."""
    properties = dict(
        line.split("=", 1) for line in (APP / "gradle/wrapper/gradle-wrapper.properties").read_text().splitlines()
    )
    assert re.fullmatch(r"[0-9a-f]{64}", properties["distributionSha256Sum"])
    assert properties["distributionUrl"] == r"https\://services.gradle.org/distributions/gradle-8.7-bin.zip"
    assert not list(APP.rglob("*.jar"))
    (command,) = re.findall(r"gradle wrapper --gradle-version (\S+) --\S+ (\w+)", (APP / "README.md").read_text())
    assert command == ("8.7", properties["distributionSha256Sum"])


def test_guava_stands_beside_camerax():
    """CameraX gives a ListenableFuture, which MediaPipe's guava takes out of the artifact that CameraX names."""
    text, _ = module("camera")
    assert "androidx.camera:camera-lifecycle:" in text
    assert "com.google.guava:guava:" in text


def test_app_and_harness_ask_for_one_performance_profile():
    text = (APP / "library/src/snpe/java/org/bilayer/avatar/SnpeNetwork.kt").read_text()
    assert re.findall(r"PerformanceProfile\.(\w+)", text) == [PERFORMANCE_PROFILE.upper()]


@pytest.mark.skipif(
    not (shutil.which("aapt2") and FRAMEWORK.is_file()), reason="apt install aapt android-framework-res"
)
@pytest.mark.parametrize("name", ["library", "camera", "sample"])
def test_androids_own_packager_takes_manifest_and_resources(name, tmp_path):
    """By Android 10's attributes and resources; an element of 12 is then one that it does not know."""
    manifest = (APP / name / "src/main/AndroidManifest.xml").read_text()
    known = re.sub(r"<uses-native-library [^>]*/>", "", manifest)
    assert known.count("<uses-native-library") == 0
    (tmp_path / "AndroidManifest.xml").write_text(
        known.replace("<manifest ", f'<manifest package="{module(name)[1]}" ', 1)
    )
    resources = []
    if (APP / name / "src/main/res").is_dir():
        run("aapt2", "compile", "--dir", APP / name / "src/main/res", "-o", tmp_path / "res.zip")
        resources = [tmp_path / "res.zip"]
    levels = ["--min-sdk-version", "26", "--target-sdk-version", "29"]
    link = ["aapt2", "link", "-I", FRAMEWORK, *levels, "--manifest", tmp_path / "AndroidManifest.xml", *resources]
    run(*link, "-o", tmp_path / "out.apk")
    told = run("aapt2", "dump", "badging", tmp_path / "out.apk")
    assert f"package: name='{module(name)[1]}'" in told
    assert "sdkVersion:'26'" in told
    if name == "sample":
        assert "application-label:'Avatar'" in told
        assert "launchable-activity: name='org.bilayer.sample.MainActivity'" in told
    broken = known.replace("android:", "android:no", 1) if name == "library" else None
    if broken:
        (tmp_path / "AndroidManifest.xml").write_text(broken.replace("<manifest ", '<manifest package="a.b" ', 1))
        assert subprocess.run([*map(str, link), "-o", tmp_path / "b.apk"], capture_output=True).returncode != 0


def test_its_native_part_builds_for_arm(tmp_path):
    """Not with the NDK, which has its own jni.h; but in the same C++ for the same processor."""
    needs("aarch64-linux-gnu-g++", "javac")
    target = tmp_path / "lib.so"
    sources = [CPP / "sampler_jni.cpp"]
    if Path("/usr/include/GLES3/gl31.h").is_file():
        sources.append(CPP / "screen_jni.cpp")
    # The headers say the same for any processor; the libraries are the phone's
    headers = [f"-I{folder}" for folder in khronos_headers(tmp_path)]
    run("aarch64-linux-gnu-g++", *native_flags(), *headers, *sources, "-o", target)
    symbols = run("aarch64-linux-gnu-nm", "-D", "--defined-only", target)
    for path in (CORE / "NativeSampler.kt", CORE / "NativeScreen.kt")[: len(sources)]:
        methods = re.findall(r"external fun (\w+)", path.read_text())
        assert set(re.findall(rf"{path.stem}_(\w+)", symbols)) == set(methods)


def khronos_headers(folder):
    for name in ("EGL", "GLES3", "KHR"):
        if Path("/usr/include", name).is_dir():
            (folder / name).symlink_to(Path("/usr/include", name))
    return [folder]


@pytest.mark.parametrize("toolchain", [HOST, ARM64], ids=["host", "arm64"])
def test_its_native_sampler_draws_a_real_bundle(toolchain, exported_folder, tmp_path):
    """Its JNI functions, called through a table of JNI's as Java's machine would: here, and as ARM code under qemu."""
    toolchain.check()
    needs("javac")
    flags = [flag for flag in native_flags() if flag not in ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror")]
    toolchain.build(tmp_path / "driver", *flags, HERE / "app_jni_driver.cpp", CPP / "sampler_jni.cpp")
    avatar = AvatarPlayer.load(exported_folder, engine="onnxruntime")
    contract, outputs = avatar.bundle.contract, avatar.outputs
    texture = read_texture(avatar.bundle)
    values = (texture, outputs.delta_uv, outputs.lf_rgb, outputs.seg)
    (tmp_path / "numbers").write_bytes(b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in values))
    size = 2 * contract.image_size
    sides = (texture.shape[0] - 3, contract.image_size, size, int(contract.align_corners))
    assert toolchain.run(tmp_path / "driver", tmp_path / "numbers", tmp_path / "frame", *sides) == "refused 5 of 5\n"
    texture[2:6, 3:6] = outputs.delta_uv.ravel()[:48].reshape(4, 3, 4)  # what the driver lays in
    expected = FrameCompositor(texture, contract.align_corners, size=size, alpha="premultiplied").compose(outputs)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "frame", np.uint8).reshape(expected.shape), expected)
