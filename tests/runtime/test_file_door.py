"""Files that users give are opened by runtime/files/ alone, which refuses what is no file of a fit size."""

import ast
import errno
import os
import socket
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest

from bilayer.runtime.errors import BundleError, InputError
from bilayer.runtime.files.kinds import check_photo_file, kind_of
from bilayer.runtime.files.reading import (
    FileKind,
    check_folder,
    check_input,
    checked,
    is_file,
    is_folder,
    is_there,
    list_below,
    list_folder,
    open_file,
    read_bytes,
    read_text,
    size_of,
)

TOP = Path(__file__).parents[2]
ROOMS = ("android_harness", "benchmarks", "bilayer", "export", "model", "runtime", "training")
DOOR = "runtime/files/"

# Methods of a Path, or functions that take one, which look at a file or open it to read
LOOKS = {"is_file", "is_dir", "exists", "is_fifo", "stat", "lstat", "iterdir", "glob", "rglob", "listdir", "scandir"}
READS = {"open", "read_text", "read_bytes", "imread", "VideoCapture", "InferenceSession", "safe_open", "is_zipfile"}
READS |= {"load_file", "fromfile", "loadtxt", "genfromtxt", "memmap", "read_model_file", "copyfile", "ZipFile"}
LOADERS = {"np", "numpy", "torch", "onnx", "json", "tomllib", "pickle", "msgspec"}  # .load(path or stream)
WRITING_MODES = {"ab", "w", "wb", "a", "x"}

# What may look or open by itself, and why
ALLOWED = {
    ("export/convert/qairt_worker.py", "os.open(log, os.O_WRONLY | os.O_APPEND)"): "written, not read",
    (
        "export/network/coreml_write.py",
        "(Path(model.weights_dir) / 'weight.bin').read_bytes()",
    ): "written a moment before",
    (
        "runtime/sampler/gpu.py",
        "(files('bilayer.runtime.sampler') / 'shaders' / 'frame.wgsl').read_text(encoding='utf-8')",
    ): "our own sources",
    ("android_harness/routes/runner_build.py", "_SAMPLER.glob('numba_*.py')"): "sources of our own, to be hashed",
    ("model/files/safe_load.py", "archive.open(member)"): "a part of the archive that the door opened",
    ("android_harness/routes/runner_build.py", "NATIVE.iterdir()"): "our own sources",
    ("android_harness/routes/runner_build.py", "path.read_bytes()"): "our own sources",
    (
        "android_harness/routes/runner_build.py",
        "shutil.copyfile(_SAMPLER / 'native' / HEADER, folder / HEADER)",
    ): "ours",
    ("android_harness/routes/runner_build.py", "shutil.copyfile(folder / PROGRAM, part)"): "compiled a moment before",
    ("benchmarks/parity/rungs/htp.py", "np.load(found)"): "written by our worker a moment before",
    ("benchmarks/parity/rungs/htp_worker.py", "np.load(poses)"): "written by its parent a moment before",
    ("benchmarks/speed/report.py", "Path('/proc/cpuinfo').read_text(encoding='utf-8')"): "the system's",
    ("export/convert/qairt_worker.py", "model.read_bytes()"): "read by its parent before",
    ("export/serve/cache.py", "path.stat()"): "a zip of our own: when it was last used",
    ("export/switch.py", "shutil.copyfile(file, name)"): "a draft of our own",
    ("runtime/engines/ncnn.py", "network.param.read_text()"): "from the cache, its hash compared",
    (
        "android_harness/routes/runner_build.py",
        "Path(root).glob(f'toolchains/llvm/prebuilt/*/bin/{_CLANG}')",
    ): "of a folder that the door has seen; finds nothing where it may not look",
    (
        "runtime/engines/onnx_runtime.py",
        "onnxruntime.InferenceSession(source, options, providers=list(providers))",
    ): "bytes, or a path that the door has checked in the line before",
    ("runtime/media/video.py", "cv2.VideoCapture(index)"): "a webcam",
    ("runtime/numba_cache.py", "Path(path).read_bytes()"): "our own sources",
    ("runtime/sampler/build.py", "(native / name).read_bytes()"): "our own sources",
    ("runtime/process/subprocesses.py", "log.open('rb')"): "written by a tool of ours a moment before",
    ("training/data/frame_folders.py", "os.listdir(folder)"): "half the time of the door's; its errors are told there",
    ("training/data/frame_folders.py", "os.scandir(folder)"): "half the time of the door's; its errors are told there",
    ("training/data/frame_folders.py", "entry.is_dir()"): "of scandir: looks at nothing",
}


def calls_past_the_door(source: str) -> list[str]:
    """Calls in `source` that open a path, or look at one, by themselves."""
    found = []
    for scope in ast.walk(ast.parse(source)):
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            streams = {"stream"} & {argument.arg for argument in _arguments(scope)} | _streams(scope)
            found += [ast.unparse(call) for call in _own_calls(scope) if _is_past_the_door(call, streams)]
    return found


def _arguments(scope):
    return [] if isinstance(scope, ast.Module) else scope.args.args


def _streams(scope) -> set[str]:
    """Names that a `with` binds to what the door opened, and arguments that are streams."""
    bound = {
        item.optional_vars.id
        for node in ast.walk(scope)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name) and _name(item.context_expr) in ("open_file", "BytesIO")
    }
    annotations = {argument.arg: ast.unparse(argument.annotation or ast.Constant("")) for argument in _arguments(scope)}
    annotated = {name for name, annotation in annotations.items() if annotation.endswith(("IO", "Reader"))}
    assigned = {
        target.id
        for node in ast.walk(scope)
        if isinstance(node, ast.Assign) and _name(node.value) == "BytesIO"
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return bound | annotated | assigned


def _own_calls(scope):
    """Calls in a scope, but not in the functions within it."""
    stack = list(ast.iter_child_nodes(scope))
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            stack += [*node.decorator_list, *node.args.defaults]
            continue
        if isinstance(node, ast.Call):
            yield node
        stack += ast.iter_child_nodes(node)


def _name(node) -> str:
    called = node.func if isinstance(node, ast.Call) else node
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def _is_past_the_door(call: ast.Call, streams: set[str]) -> bool:
    name, function = _name(call), call.func
    first = call.args[0] if call.args else None
    owner = function.value if isinstance(function, ast.Attribute) else None
    if name in LOOKS:
        return owner is not None
    if name == "load":
        suspect = isinstance(owner, ast.Name) and owner.id in LOADERS
    elif name in ("read_text", "read_bytes"):
        suspect = owner is not None  # the door's own are functions
    else:
        suspect = name in READS
    modes = {a.value for a in (*call.args, *(k.value for k in call.keywords)) if isinstance(a, ast.Constant)}
    if not suspect or (name in ("open", "ZipFile") and modes & WRITING_MODES):
        return False
    if isinstance(first, ast.Call) and _name(first) in ("checked", "BytesIO", "read_bytes", "open_file"):
        return False
    return not (isinstance(first, ast.Name) and first.id in streams)


def test_only_the_door_opens_files_to_read():
    past = {}
    for room in ROOMS:
        for path in sorted((TOP / room).rglob("*.py")):
            name = path.relative_to(TOP).as_posix()
            if not name.startswith(DOOR):
                past |= {(name, call): path for call in calls_past_the_door(path.read_text("utf-8"))}
    unexplained = [f"{name}: {call}" for name, call in past if (name, call) not in ALLOWED]
    assert not unexplained, "read it with bilayer.runtime.files.reading, or tell in ALLOWED why not"
    assert not [key for key in ALLOWED if key not in past], "no longer there"


@pytest.mark.parametrize(
    ("source", "past"),
    [
        ("open(name)", True),
        ("open(name, 'w')", False),
        ("io.open(name)", True),
        ("os.open(name, 0)", True),
        ("path.open('rb')", True),
        ("path.open('wb')", False),
        ("path.read_text()", True),
        ("read_text(path, kind)", False),
        ("np.load(path)", True),
        ("np.load(io.BytesIO(content))", False),
        ("torch.load(str(path))", True),
        ("with open_file(path, kind) as file:\n    torch.load(file)", False),
        ("with path.open('rb') as file:\n    torch.load(file)", True),
        ("def f(stream: BinaryIO):\n    Image.open(stream)", False),
        ("def f(path):\n    Image.open(path)", True),
        ("json.load(file)", True),
        ("onnx.load(path)", True),
        ("tomllib.load(path)", True),
        ("np.fromfile(path)", True),
        ("safe_open(path)", True),
        ("safe_open(checked(path, kind))", False),
        ("zipfile.ZipFile(path)", True),
        ("path.is_file()", True),
        ("is_file(path)", False),
        ("os.path.exists(path)", True),
        ("sorted(path.glob('*'))", True),
        ("path.stat().st_size", True),
        ("cv2.imread(str(path))", True),
        ("av.open(path)", True),
    ],
)
def test_what_the_source_test_sees(source, past):
    assert bool(calls_past_the_door(source)) == past


def lay_hostile(kind: str, folder: Path) -> Path:
    """Something of this kind at a path, at which a plain `open` would hang, fill the memory or raise."""
    path = folder / "given"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link to a pipe":
            os.mkfifo(folder / "pipe")
            path.symlink_to(folder / "pipe")
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        case "endless device":
            path.symlink_to("/dev/zero")
        case "device":
            path.symlink_to("/dev/null")
        case "terminal":
            path.symlink_to("/dev/tty")
        case "sparse file":
            path.touch()
            os.truncate(path, 1 << 42)
        case "link to itself":
            path.symlink_to(path)
        case "link to nothing":
            path.symlink_to(folder / "nothing")
        case "long name":
            path = folder / ("x" * 300)
        case "long path":
            path = folder.joinpath(*["x" * 200] * 30)
        case "below a file":
            (folder / "file").touch()
            path = folder / "file" / "given"
        case "zero byte":
            path = folder / "a\0b"
        case "half a surrogate pair":
            path = folder / "\ud800"
    return path


HOSTILE = {
    "folder": "is a folder; name a landmark track",
    "pipe": "is a device, pipe or socket",
    "link to a pipe": "is a device, pipe or socket",
    "socket": "is a device, pipe or socket",
    "endless device": "is a device, pipe or socket",
    "device": "is a device, pipe or socket",
    "terminal": "is a device, pipe or socket",
    "sparse file": f"expected at most {FileKind.TRACK.most} bytes for a landmark track, found {1 << 42}",
    "link to itself": "cannot be read: Too many levels of symbolic links",
    "link to nothing": "no such file; name a landmark track",
    "long name": "cannot be read: File name too long",
    "long path": "cannot be read: File name too long",
    "below a file": "no such file; name a landmark track",
    "zero byte": "not a name that a file can have",
    "half a surrogate pair": "not a name that a file can have",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_file_of_a_fit_size_is_refused_in_one_line(tmp_path, kind):
    path = lay_hostile(kind, tmp_path)
    for read in (open_file, read_bytes, read_text, checked):
        with pytest.raises(BundleError) as error:
            read(path, FileKind.TRACK, BundleError)
        assert str(error.value).startswith(f"{path}: {HOSTILE[kind]}")
    assert is_file(path) == (kind == "sparse file")
    assert is_folder(path) == (kind == "folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_locked_folder_is_told(tmp_path):
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "file").write_text("x")
    (tmp_path / "locked").chmod(0)
    try:
        for look in (check_input, check_folder, size_of, check_photo_file, kind_of, list_folder, list_below):
            with pytest.raises(InputError, match="Permission denied"):
                look(tmp_path / "locked" / "file")
        assert not is_there(tmp_path / "locked" / "file")
    finally:
        (tmp_path / "locked").chmod(0o700)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_what_the_system_refuses_is_told(tmp_path, monkeypatch, code):
    """As of a folder that may not be entered, or a disk that fails; also where root runs the tests."""

    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    (tmp_path / "file").write_text("x")
    stats, scans = (check_input, check_folder, size_of, kind_of), (list_folder, list_below)
    for name, looks in (("stat", stats), ("scandir", scans)):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, refuse)
            for look in looks:
                with pytest.raises(InputError, match=r"(cannot be read|cannot be listed): "):
                    look(tmp_path / "file")
    monkeypatch.setattr(os, "stat", refuse)
    assert not is_there(tmp_path / "file")
    assert not is_file(tmp_path / "file")
    assert not is_folder(tmp_path)


def test_a_file_is_read_whole_and_no_further_than_its_bound(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\xef\xbb\xbftext\n")
    assert read_bytes(path, FileKind.SETTINGS) == b"\xef\xbb\xbftext\n"
    assert read_text(str(path), FileKind.SETTINGS) == "text\n"
    assert checked(str(path), FileKind.ANY) == path
    assert size_of(path) == 8
    assert read_bytes(path, FileKind.SETTINGS, most=8)
    with pytest.raises(InputError, match="expected at most 7 bytes for a file of settings, found 8"):
        read_bytes(path, FileKind.SETTINGS, most=7)
    path.write_bytes(b"text \xff")
    with pytest.raises(InputError, match="expected text in UTF-8, found other bytes at 5; name a file of settings"):
        read_text(path, FileKind.SETTINGS)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_file_that_grows_beyond_its_size_is_not_read_on():
    """Files of /proc have no size; this one has gigabytes."""
    with pytest.raises(InputError, match=r"cannot be read|expected at most"):
        read_bytes("/proc/self/mem", FileKind.SETTINGS)
    assert read_bytes("/proc/self/cmdline", FileKind.SETTINGS)


def test_a_pipe_that_takes_the_files_place_does_not_hang(tmp_path, monkeypatch):
    """Between the look and the opening."""
    path, look = tmp_path / "file", os.stat
    path.write_text("x")

    def swap(given, **how):
        monkeypatch.undo()
        status = look(given, **how)
        path.unlink()
        os.mkfifo(path)
        return status

    monkeypatch.setattr(os, "stat", swap)
    stopped = threading.Timer(10, lambda: os.close(os.open(path, os.O_WRONLY)))  # lets go of a reader that hangs
    stopped.start()
    with pytest.raises(InputError, match="is a device, pipe or socket"):
        open_file(path, FileKind.ANY)
    stopped.cancel()


def test_folders_are_listed_in_order(tmp_path):
    for name in ("b.json", "a.json", "c.txt", "sub/d.json", "sub/deeper/e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "circle").symlink_to(tmp_path)
    assert [path.name for path in list_folder(tmp_path, "*.json")] == ["a.json", "b.json"]
    assert list_folder(str(tmp_path)) == sorted(tmp_path.iterdir())
    assert [path.name for path in list_below(tmp_path)] == ["a.json", "b.json", "c.txt", "d.json", "e.txt"]
    for folder in (tmp_path / "no", tmp_path / "a.json"):
        with pytest.raises(BundleError, match=r"no: |a\.json: "):
            list_folder(folder, error=BundleError)
        with pytest.raises(BundleError, match="cannot be listed"):
            list_below(folder, BundleError)


def test_a_small_file_costs_no_room_for_a_large_one(tmp_path):
    (tmp_path / "a.dlc").write_bytes(b"small")
    tracemalloc.start()
    try:
        assert read_bytes(tmp_path / "a.dlc", FileKind.DLC) == b"small"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
