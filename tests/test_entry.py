"""The installed commands begin in bilayer/entry.py: an interrupt at any moment from there on is told in one word."""

import signal
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from bilayer import entry

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# A command that is interrupted while its first import of a module is being looked for
INTERRUPTED_AT = """
import os, signal, sys
import bilayer.entry

class Finder:
    def find_spec(self, name, path, target=None):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)

_, wanted, command, *sys.argv[1:] = sys.argv
sys.meta_path.insert(0, Finder())
getattr(bilayer.entry, command)()
"""

# What click calls while it reads the command line
INTERRUPTED_IN_ITS_OPTIONS = """
import os, signal
import click
from bilayer.runtime.command.console import Command, Group

class Slow(click.ParamType):
    name = "slow"
    def convert(self, value, param, context):
        os.kill(os.getpid(), signal.SIGINT)

@click.group(cls=Group)
def main():
    pass

@main.command()
@click.option("--slow", type=Slow())
def command(slow):
    pass

(main if {as_group} else command)()
"""


def ended(program, *arguments, ignoring=False):
    ignore = (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignoring else None
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=ignore)
    return done.returncode, done.stdout, done.stderr


def test_every_script_of_the_project_is_a_command_of_the_table():
    named = {f"bilayer-{name}": f"bilayer.entry:{name}" for name in entry.COMMANDS}
    assert PROJECT["scripts"] == named | {"bilayer": "bilayer.entry:bilayer"}
    for name in ("bilayer", *entry.COMMANDS):
        module, function = getattr(entry, name).args
        assert callable(getattr(import_module(module), function))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        entry.nothing  # noqa: B018  # the attribute is what is asked for


@pytest.mark.parametrize("module", ["click", "bilayer.runtime.command.console", "bilayer.runtime.errors"])
@pytest.mark.parametrize("command", ["bilayer", "device", "export", "render"])
def test_an_interrupt_while_a_command_is_imported_is_told_in_one_word(command, module):
    assert ended(INTERRUPTED_AT, module, command, "--help") == (130, "", "interrupted\n")


def test_a_command_in_the_background_of_a_script_is_not_interrupted():
    code, out, errors = ended(INTERRUPTED_AT, "click", "render", "--help", ignoring=True)
    assert (code, errors) == (0, "")
    assert out.startswith("Usage:")


@pytest.mark.parametrize(("as_group", "words"), [(True, ["command", "--slow", "1"]), (False, ["--slow", "1"])])
def test_an_interrupt_while_options_are_read_is_told_in_one_word(as_group, words):
    assert ended(INTERRUPTED_IN_ITS_OPTIONS.format(as_group=as_group), *words) == (130, "", "interrupted\n")


HEARD = """
import signal, sys
import bilayer.entry

bilayer.entry.COMMANDS["render"] = ("heard", "")
bilayer.entry.render()
"""


@pytest.mark.parametrize("ignoring", [False, True])
def test_a_command_begins_with_the_usual_ways_to_end(tmp_path, ignoring):
    """Which `ending_in_order` takes over; another's it leaves alone."""
    usual = "signal.SIG_IGN" if ignoring else "signal.default_int_handler"
    (tmp_path / "heard.py").write_text(
        f"import signal\ndef main(): print(signal.getsignal(signal.SIGINT) is {usual})\n"
    )
    assert ended(f"import sys; sys.path.insert(0, {str(tmp_path)!r}){HEARD}", ignoring=ignoring) == (0, "True\n", "")


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_closed_stream_is_no_file_that_a_command_writes(tmp_path, closed):
    """Its number is the next file's otherwise, and what a library prints goes into that."""
    script = (
        "import os, sys; from bilayer import entry; entry._open_standard_streams(); "
        f"file = open({str(tmp_path / 'a')!r}, 'w'); print('out'); print('err', file=sys.stderr); "
        "os.write(1, b'raw'); os.write(2, b'raw'); sys.exit(file.fileno() < 3)"
    )
    shell = f'exec "$@" {" ".join(f"{number}>&-" for number in closed)}'
    done = subprocess.run(["sh", "-c", shell, "sh", sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, (tmp_path / "a").read_text()) == (0, "")
    assert ("out" in done.stdout, "err" in done.stderr) == (1 not in closed, 2 not in closed)


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_a_command_that_cannot_tell_ends_as_it_would(tmp_path, stderr):
    program = "from bilayer import entry; entry.render()"
    words = ["--demo-motion", "--out", str(tmp_path / "a.gif")]
    shell = ["sh", "-c", f'exec "$@" {stderr}', "sh", sys.executable, "-c", program]
    done = subprocess.run([*shell, str(tmp_path / "none"), *words], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"", b"")
