"""The Android app's other files, parsed and packaged, and its native part, built for ARM."""

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bilayer.android_harness.routes.vendor import PERFORMANCE_PROFILE
from bilayer.runtime.player import AvatarPlayer, read_texture
from bilayer.runtime.sampler.compositor import FrameCompositor
from tests.android_harness.app_build import APP, CORE, CPP, HERE, native_flags, needs, run
from tests.native_sampler import ARM64, HOST

FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")  # Android 10's own resources


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
