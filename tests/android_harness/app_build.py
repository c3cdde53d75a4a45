"""The app's Kotlin and its native part, built once in a test run for this machine's JVM, and how to run them on it."""

import fcntl
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from bilayer import android_harness

HERE = Path(__file__).parent
APP = Path(android_harness.__file__).parent / "app"
CORE = APP / "library/src/main/java/org/bilayer/avatar/core"
CPP = APP / "library/src/main/cpp"
NATIVE = APP.parent / "native"
# For a Java that ends before its optimising compiler and a collector in threads have paid
BRIEF = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
JSON = Path("/usr/share/java/com.android.json.jar")  # Android's own org.json, as Debian packages it


def needs(*programs):
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (apt install kotlin default-jdk-headless g++)")


def run(*words, **options):
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def app_program(tmp_path_factory):
    """All of the app's Kotlin and the checks', as classes, and its native part for this machine's JVM."""
    needs("kotlinc", "javac", "java", "g++")
    if not Path("/usr/include/GLES3/gl31.h").is_file():
        pytest.skip("no headers of OpenGL ES (apt install libegl-dev libgles-dev libegl1 libgles2)")
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
    kotlin = [path for path in sorted(APP.rglob("*.kt")) if path.name != "Backend.kt"]
    for path in APP.glob("library/src/*/java/org/bilayer/avatar/Backend.kt"):  # a build has one; here each in a package
        backend = path.relative_to(APP).parts[2]
        package = f"package org.bilayer.avatar.{backend}\n\nimport org.bilayer.avatar.*\n"
        kotlin.append(folder / f"{backend}.kt")
        text = path.read_text()
        kotlin[-1].write_text(text if backend == "litert" else text.replace("package org.bilayer.avatar\n", package))
    libraries = f"{folder / 'classes'}{os.pathsep}{JSON}"
    words = ["kotlinc", "-no-reflect", "-cp", libraries, "-d", folder / "classes", *kotlin]
    run(*words, *sorted(HERE.glob("app_*.kt")), env=os.environ | {"JAVA_OPTS": shlex.join(["-Xmx512M", *BRIEF])})
    sources = [CPP / "sampler_jni.cpp", CPP / "screen_jni.cpp"]
    run("g++", *native_flags(), *sources, "-lEGL", "-lGLESv2", "-o", folder / "libbilayer_avatar_jni.so")


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


def run_check(program, main, folder):
    """What the program of a class printed; its files are in folder / "kotlin"."""
    java = ["java", *BRIEF, f"-Djava.library.path={program}", "-Xcheck:jni", "-cp", classpath(program)]
    settings = {"EGL_PLATFORM": "surfaceless", "LC_ALL": "C.UTF-8", "JAVA_TOOL_OPTIONS": "-Dfile.encoding=UTF-8"}
    return run(*java, main, folder, env=os.environ | settings)
