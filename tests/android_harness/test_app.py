"""The Android app where there is no Android: its core compiled and run on a JVM with the native sampler, the rest
compiled against declarations of the libraries it uses (app_stubs.txt), its other files parsed."""

import fcntl
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bilayer import android_harness
from bilayer.android_harness.report.tables import make_report
from bilayer.android_harness.results import read_result
from bilayer.runtime import Retargeter, crop_box, pose_vector
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.face.mesh import _to_ibug
from bilayer.runtime.player import read_texture
from bilayer.runtime.sampler.compositor import FrameCompositor
from tests.android_harness.conftest import make_bundle
from tests.runtime.conftest import CASE

HERE = Path(__file__).parent
APP = Path(android_harness.__file__).parent / "app"
MAIN = APP / "app/src/main"
NATIVE = APP.parent / "native"
JSON = Path("/usr/share/java/com.android.json.jar")  # Android's own org.json, as Debian packages it


def needs(*programs):
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (apt install kotlin default-jdk-headless g++)")


def run(*words, **options):
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """All of the app's Kotlin and the check's, as classes, and its native part for this machine's JVM."""
    needs("kotlinc", "javac", "java", "g++")
    if not JSON.is_file():
        pytest.skip(f"{JSON}: not installed (apt install libandroid-json-java)")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "app"  # of all workers: it takes a while
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            build(folder)
            (folder / "done").touch()
    return folder


def build(folder):
    sources = []
    for block in (HERE / "app_stubs.txt").read_text().split("\n=== ")[1:]:
        name, _, body = block.partition("\n")
        path = folder / "stubs" / f"{name.replace('.', '/')}.java"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"package {name.rpartition('.')[0]};\n{body}")
        sources.append(path)
    run("javac", "-nowarn", "-d", folder / "classes", *sources)
    kotlin = sorted(MAIN.rglob("*.kt"))
    libraries = f"{folder / 'classes'}{os.pathsep}{JSON}"
    run("kotlinc", "-no-reflect", "-cp", libraries, "-d", folder / "classes", *kotlin, HERE / "app_check.kt")
    target = folder / "libbilayer_sampler_jni.so"
    run("g++", *native_flags(), MAIN / "cpp/sampler_jni.cpp", "-o", target)


def native_flags():
    java = Path(shutil.which("javac")).resolve().parent.parent / "include"
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-shared", "-fPIC"]
    return [*flags, f"-I{java}", f"-I{java / 'linux'}", f"-I{NATIVE}"]


def classpath(folder):
    known = [Path("/usr/share/java/kotlin-stdlib.jar"), Path("/usr/share/kotlin/kotlinc/lib/kotlin-stdlib.jar")]
    found = [path for path in known if path.is_file()]
    if not found:
        pytest.skip("kotlin-stdlib.jar is not where Debian has it")
    return os.pathsep.join(map(str, [folder / "classes", JSON, found[0]]))


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
    (folder / "tracks").mkdir()
    np.save(folder / "tracks/short.npy", points[:, :67])
    np.save(folder / "tracks/nan.npy", points * np.nan)
    (folder / "tracks/deep.json").write_text("[" * 1000)
    (folder / "tracks/deeper.json").write_text('{"a": [' * 300_000)
    (folder / "tracks/after.json").write_text(json.dumps(points.tolist()) + " 1")
    (folder / "tracks/huge.json").write_text(json.dumps((points * 0).tolist()).replace("0.0", "1e999", 1))
    (folder / "tracks/words.json").write_text(json.dumps((points * 0).tolist()).replace("0.0", '"0.0"', 1))
    (folder / "tracks/good.json").write_text(json.dumps(points.tolist()))
    (folder / "any.json").write_text(json.dumps({'a\n"é😀': [1.5, True, None, {}, [], "\u0007\\"]}))
    return folder


@pytest.fixture(scope="module")
def said(program, inputs):
    """What the program printed; its files are in inputs / "kotlin"."""
    words = ["java", f"-Djava.library.path={program}", "-Xcheck:jni", "-cp", classpath(program), "App_checkKt", inputs]
    return run(*words, env=os.environ | {"LC_ALL": "C.UTF-8", "JAVA_TOOL_OPTIONS": "-Dfile.encoding=UTF-8"})


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


def test_its_other_files_are_well_formed():
    manifest = ElementTree.parse(MAIN / "AndroidManifest.xml").getroot()
    name = "{http://schemas.android.com/apk/res/android}name"
    activity = manifest.find("application/activity")
    package = re.search(r'namespace = "(.+)"', (APP / "app/build.gradle.kts").read_text())[1]
    source = MAIN / "java" / package.replace(".", "/") / f"{activity.get(name).removeprefix('.')}.kt"
    assert f"package {package}\n" in source.read_text()
    assert [one.get(name) for one in manifest.findall("uses-permission")] == ["android.permission.CAMERA"]
    strings = ElementTree.parse(MAIN / "res/values/strings.xml").getroot()
    assert [one.get("name") for one in strings] == ["app_name"]
    for path in APP.rglob("*.kts"):
        text = path.read_text()
        assert text.count("{") == text.count("}")
        assert text.count("(") == text.count(")")
    library = re.search(r'LIBRARY = "(\w+)"', (MAIN / "java/org/bilayer/avatar/core/NativeSampler.kt").read_text())[1]
    assert f"add_library({library} SHARED" in (MAIN / "cpp/CMakeLists.txt").read_text()


def test_its_native_part_builds_for_arm(tmp_path):
    """Not with the NDK, which has its own jni.h; but in the same C++ for the same processor."""
    needs("aarch64-linux-gnu-g++", "javac")
    target = tmp_path / "lib.so"
    run("aarch64-linux-gnu-g++", *native_flags(), MAIN / "cpp/sampler_jni.cpp", "-o", target)
    symbols = run("aarch64-linux-gnu-nm", "-D", "--defined-only", target)
    methods = re.findall(r"external fun (\w+)", (MAIN / "java/org/bilayer/avatar/core/NativeSampler.kt").read_text())
    assert set(re.findall(r"NativeSampler_(\w+)", symbols)) == set(methods)
