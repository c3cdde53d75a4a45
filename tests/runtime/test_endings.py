"""How every command ends: by a signal, by an error that nobody foresaw, or on a terminal that cannot print a name."""

import concurrent.futures.thread
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.waiting import wait_for

COMMAND = """
import sys, time
from pathlib import Path
import click
from bilayer.runtime.command.console import Command
from bilayer.runtime.errors import InputError
from bilayer.runtime.files.writing import replacing

@click.command(cls=Command)
def main():
    {body}

main()
"""
CAUGHT = """try: raise KeyboardInterrupt
    except BaseException as caught: raise """  # as libraries do that are loaded, or call back
WRITES = """with replacing(Path("file")) as part:
        part.write_text("half")
        Path("ready").touch()
        time.sleep(60)"""

# Forked many times, each ended at another moment of its imports; a thread that imports, too, is waited for
IMPORTS = """
import importlib, os, signal, sys, threading, time
import click
from bilayer.runtime.command.console import Command

SMALL = [f"small{{number}}" for number in range(10)]

@click.command(cls=Command)
def main():
    ending = threading.Event()
    def imports():
        ending.wait()
        import first, second
    thread = threading.Thread(target=imports)
    thread.start()
    os.write(told, b"x")
    try:
        while True:
            for name in SMALL:
                sys.modules.pop(name, None)
                importlib.import_module(name)
    finally:
        ending.set()
        thread.join()

sys.dont_write_bytecode = True
hung, codes = 0, set()
for attempt in range(80):
    heard, told = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            main([])
        except SystemExit as ended:
            os._exit(ended.code)
    os.read(heard, 1)
    time.sleep(attempt % 40 * 1e-4)
    os.kill(child, {how})
    for _ in range(2000):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            codes.add(os.waitstatus_to_exitcode(status))
            break
        time.sleep(0.005)
    else:
        hung += 1
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        break
print(hung, codes)
"""


def start(folder: Path, body: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(body=body)],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
    )


@pytest.mark.parametrize(("how", "said"), [(signal.SIGTERM, ""), (signal.SIGINT, "interrupted\n")])
def test_a_signal_ends_a_command_cleaned_up(tmp_path, how, said):
    process = start(tmp_path, WRITES)
    for _ in range(600):
        if (tmp_path / "ready").exists():
            break
        time.sleep(0.1)
    process.send_signal(how)
    out, errors = process.communicate()
    assert (process.returncode, out, errors.lstrip("\n")) == (128 + how, "", said)
    assert [path.name for path in tmp_path.iterdir()] == ["ready"]


AT_WORK = """
import os, signal, sys
from bilayer.runtime.process.ending import ending_in_order

code = compile({source!r}, {file!r}, "exec")
told = {{"__name__": {module!r}, "done": [], "hear": lambda: os.kill(os.getpid(), signal.SIGTERM)}}
try:
    with ending_in_order():
        exec(code, told)
        told.get({function!r}, lambda: 0)()
        told["done"].append("after")
        while True:
            sum(range(1000))
except SystemExit as ended:
    print(told["done"], ended.code)
"""
LOCK = "def {0}():\n    hear()\n    for _ in range(9999): pass\n    done.append('whole')"
BOOTSTRAP = "<frozen importlib._bootstrap>"


@pytest.mark.parametrize(
    ("file", "module", "function", "whole"),
    [
        *((BOOTSTRAP, "importlib._bootstrap", name, True) for name in ("acquire", "release", "_get_module_lock", "cb")),
        (BOOTSTRAP, "importlib._bootstrap", "_find_and_load", False),
        (threading.__file__, "threading", "start", True),
        (concurrent.futures.thread.__file__, "concurrent.futures.thread", "_adjust_thread_count", True),
        ("acquire.py", "mine", "acquire", False),
    ],
)
def test_a_signal_waits_where_the_import_system_is_at_a_lock(file, module, function, whole):
    source = LOCK.format(function)
    script = AT_WORK.format(source=source, file=file, module=module, function=function)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{['whole', 'after'] if whole else []} 143\n", done.stderr


def test_a_signal_waits_until_torch_is_loaded():
    """A module of that name: its C++ would end the process."""
    source = "hear()\nfor _ in range(9999): pass\ndone.append('whole')"
    script = AT_WORK.format(source=source, file="torch/__init__.py", module="torch.distributed", function="")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "['whole', 'after'] 143\n", done.stderr


FINALISER = """class Slow:
        def __del__(self):
            signal.raise_signal({how})
    Slow()
    Path("lived").touch()
    time.sleep(60)"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_was_swallowed_comes_again(tmp_path, how):
    process = start(tmp_path, "import signal\n    " + FINALISER.format(how=int(how)))
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, out, errors.strip()) == (128 + how, "", "interrupted" if how == signal.SIGINT else "")
    assert (tmp_path / "lived").exists()


BROKEN = """import signal
    class Slow:
        def __del__(self):
            signal.raise_signal(15)
    Slow()
    raise ImportError("cannot load module more than once")"""


def test_what_a_swallowed_signal_broke_is_not_told(tmp_path):
    process = start(tmp_path, BROKEN)
    assert (*process.communicate(timeout=30), process.returncode) == ("", "", 143)


CLEANS_UP = """import atexit, signal
    atexit.register(lambda: (signal.raise_signal({how}), Path("third").touch()))
    try:
        signal.raise_signal({how})
    finally:
        if {how} == 15:
            signal.raise_signal(15)
        Path("second").touch()"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_stop_the_cleaning_up(tmp_path, how):
    process = start(tmp_path, CLEANS_UP.format(how=int(how)))
    process.communicate(timeout=30)
    assert process.returncode == 128 + how
    assert sorted(path.name for path in tmp_path.iterdir()) == ["second", "third"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_amid_imports_leaves_no_lock_of_theirs_behind(tmp_path, how):
    for name in ("first", "second", *(f"small{number}" for number in range(10))):
        (tmp_path / f"{name}.py").touch()
    command = [sys.executable, "-c", IMPORTS.format(how=int(how))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == f"0 {{{128 + how}}}\n", done.stderr


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        ("raise EOFError('Ran out of input')", 3, "error: a file ended before its time (Ran out of input)"),
        ("open('/no/such')", 3, "error: /no/such: No such file or directory; name another"),
        ("raise OSError(28, 'No space left on device')", 3, "error: temporary files in "),
        ("raise OSError(12, 'Cannot allocate memory')", 3, "error: not enough memory: Cannot allocate memory"),
        ("raise OSError(24, 'Too many open files')", 3, "error: Too many open files; allow more open files, as by"),
        ("raise OSError(104, 'Connection reset by peer')", 3, "error: Connection reset by peer; try again"),
        ("raise OSError(13, 'Permission denied', 'a.log')", 3, "error: a.log: Permission denied; see who may use it"),
        ("raise OSError(1, 'Operation not permitted', 'a')", 3, "error: a: Operation not permitted; see who may use"),
        ("raise OSError(28, 'No space left', 'a.log')", 3, "error: a.log: No space left; make room there"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        (
            "exec('import os, signal; os.kill(os.getpid(), signal.SIGINT); [0 for _ in range(99)]'); time.sleep(60)",
            130,
            "interrupted",
        ),
        (CAUGHT + "ImportError('initialization failed') from caught", 130, "interrupted"),
        (CAUGHT + "InputError('of a callback')", 130, "interrupted"),
        ("raise ValueError('a fault of ours')", 1, "Traceback"),
    ],
)
def test_what_nobody_foresaw(tmp_path, body, code, line):
    process = start(tmp_path, body)
    out, errors = process.communicate()
    assert (process.returncode, out) == (code, "")
    assert errors.startswith(line)
    assert (errors.count("\n") == 1) == (code != 1)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16"])
@pytest.mark.parametrize("name", ["модель", "\udcff", "😀", "é", "plain"])
def test_any_name_can_be_printed(tmp_path, encoding, name):
    process = start(tmp_path, f"click.echo({name!a} + ' done')", PYTHONIOENCODING=encoding)
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "d" in out


def test_a_pipe_that_closes_is_no_error(tmp_path):
    process = start(tmp_path, "[click.echo('x' * 1000) for _ in range(1000)]")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait() == 1


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder with a program, and its cache of Numba; and a function that runs it with another."""
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "code.py").write_text(
        "from bilayer.runtime.numba_cache import cached_njit\n"
        "from numba import float64\n\n\n"
        "@cached_njit(float64(float64))\n"
        "def twice(x):\n    return 2 * x\n\n\n"
        "@cached_njit()\n"
        "def thrice(x):\n    return 3 * x\n\n\n"
        "print(twice(2.0), thrice(2.0), *(sum(one.stats.cache_hits.values()) for one in (twice, thrice)))\n"
    )

    def run(cache: Path) -> str:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
        command = [sys.executable, "code.py"]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout

    assert run(folder / "cache") == "4.0 6.0 0 0\n"
    return folder / "cache", run


def test_a_cache_of_numba_is_used(compiled):
    cache, run = compiled
    assert run(cache) == "4.0 6.0 1 1\n"


@pytest.mark.parametrize("pattern", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("kept", [0, 1, 50])
def test_a_damaged_cache_of_numba_is_made_anew(compiled, tmp_path, pattern, kept):
    whole, run = compiled
    shutil.copytree(whole, tmp_path / "cache")
    damaged = list((tmp_path / "cache").rglob(pattern))
    assert len(damaged) == 2
    for path in damaged:
        os.truncate(path, kept)
    assert run(tmp_path / "cache") == "4.0 6.0 0 0\n"
    assert run(tmp_path / "cache") == "4.0 6.0 1 1\n"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_a_profiler_or_debugger_runs_hears_signals(tmp_path, how):
    """They run it by exec of a string, which is not the command's own."""
    program = COMMAND.format(body="Path('ready').touch(); time.sleep(60)")
    (tmp_path / "command.py").write_text(program)
    process = subprocess.Popen(
        [sys.executable, "-c", "exec('import command')"], cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for((tmp_path / "ready").exists)
    process.send_signal(how)
    assert process.wait(20) == 128 + how
    process.communicate()
