"""Files that users give are opened by runtime/files/ alone, which refuses what is no file of a fit size."""

import ast
from pathlib import Path

import pytest

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
    ("bilayer/entry.py", "os.open(os.devnull, os.O_RDWR)"): "a stream that was closed",
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
    (
        "android_harness/routes/runner_build.py",
        "shutil.copyfile(folder / SAMPLER_RUNNER, part)",
    ): "compiled a moment before",
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
    ("training/data/layout.py", "os.listdir(folder)"): "half the time of the door's; its errors are told there",
    ("training/data/layout.py", "os.scandir(folder)"): "half the time of the door's; its errors are told there",
    ("training/data/layout.py", "entry.is_dir()"): "of scandir: looks at nothing",
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
