"""What all command lines share."""

import gc
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bilayer.runtime.command.console import WIDEST, Command, Group, importing, look_at, show, suggest, table


def test_nothing_is_collected_while_libraries_are_imported() -> None:
    assert gc.isenabled()
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_collection_goes_on_after_a_failed_import() -> None:
    with pytest.raises(ImportError), importing():
        raise ImportError
    assert gc.isenabled()


def test_collection_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_process_ends_without_a_search_for_cycles_and_with_its_exit_code() -> None:
    script = """
import atexit, gc, click
from bilayer.runtime.command.console import Command
from bilayer.runtime.errors import InputError

@click.command(cls=Command)
def main():
    raise InputError("photo.jpg: is no photo")

atexit.register(lambda: print("frozen", gc.get_freeze_count() > 0))  # runs after what main registers
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "frozen True\n", "error: photo.jpg: is no photo\n")


def test_one_long_cell_widens_no_other_line() -> None:
    long = "x" * (WIDEST + 1)
    lines = table(["name", "n"], [("short", 1), (long, 22), ("a" * WIDEST, 3)]).splitlines()
    assert lines[2] == f"| {'short':{WIDEST}} |  1 |"
    assert lines[3] == f"| {long} | 22 |"
    assert {len(line) for line in lines if long not in line} == {WIDEST + 9}


@pytest.mark.parametrize("error", [
    MemoryError(), MemoryError("Unable to allocate 2.00 GiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    Exception("alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 300000000 bytes"),
])  # fmt: skip
def test_no_memory_is_one_line(error):
    def fail():
        raise error

    done = CliRunner().invoke(click.command(cls=Command)(fail))
    assert done.exit_code == 3
    assert done.stderr.startswith("error: not enough memory: ")
    assert done.stderr.count("\n") == 1


def test_another_error_stays_a_traceback():
    def fail():
        raise RuntimeError("a fault of ours")

    assert isinstance(CliRunner().invoke(click.command(cls=Command)(fail)).exception, RuntimeError)


@pytest.mark.parametrize("words", [["a", "{}"], ["--no{}"], ["--count", "{}", "a"], ["--kind", "{}", "a"], ["gone{}"]])
@pytest.mark.parametrize("told", ["x\ny", "x\x1b[2Jy", "x\ry", "\udcff"])
def test_a_usage_error_is_one_line_whatever_was_typed(words, told):
    @click.group(cls=Group)
    def main():
        pass

    @main.command()
    @click.argument("place", type=click.Path(exists=True))
    @click.option("--count", type=int)
    @click.option("--kind", type=click.Choice(["one", "two"]))
    def some(place, count, kind):
        raise click.UsageError(f"{place}: is not wanted")

    typed = [word.format(told) for word in words]
    for given in ([*typed], ["some", *typed]):
        done = CliRunner().invoke(main, given)
        assert done.exit_code == 2
        lines = done.stderr.splitlines()
        assert lines[-1].startswith("Error: ")
        assert [line for line in lines if line and not line.startswith(("Usage: ", "Try ", "Error: "))] == []
        assert "\x1b" not in done.stderr


NAME = "my avatars' page.html"


@pytest.mark.parametrize(
    ("system", "there", "words"),
    [
        ("linux", "xdg-open", ["xdg-open", NAME]),
        ("linux", "open", ["look", "at", NAME]),  # the open of Debian starts a console
        ("linux", "", ["look", "at", NAME]),
        ("darwin", "open", ["open", NAME]),
        ("freebsd14", "xdg-open", ["xdg-open", NAME]),
    ],
)
def test_what_is_to_be_looked_at_is_opened_by_what_the_system_has(monkeypatch, system, there, words) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(shutil, "which", lambda name: name if name == there else None)
    for path in (NAME, Path(NAME)):
        assert shlex.split(look_at(path)) == words


def test_windows_opens_by_its_shell(monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert look_at("my page.html") == 'start "" "my page.html"'


def test_what_may_follow_is_for_a_person_alone(capsys) -> None:
    for as_json in (False, True):
        show({"a": 1}, lambda: "text", as_json, "bilayer-render out")
        suggest("bilayer-web out", as_json, "passed")
        suggest("", as_json, "passed")
    assert capsys.readouterr().err == "\nnext: bilayer-render out\n\npassed; next: bilayer-web out\n"


def test_nobody_else_says_what_may_follow() -> None:
    """By hand it was printed under --json, too, and paths in it were not quoted."""
    top = Path(__file__).parents[2]
    rooms = ("android_harness", "benchmarks", "bilayer", "export", "model", "runtime", "training")
    files = [path for room in rooms for path in (top / room).rglob("*.py")]
    by_hand = re.compile(r"""["'}\\n ]next: """)
    lines = [(path.name, line) for path in files for line in path.read_text("utf-8").splitlines()]
    found = {name for name, line in lines if by_hand.search(line) and "echo(" in line}
    assert found == {"console.py"}
