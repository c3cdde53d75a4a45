"""Paths in commands that a person is told to run: a shell gives them back, and no command takes one for an option."""

import shlex
from pathlib import Path

import click
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bilayer.runtime.files.shell import pasted


@click.command()
@click.argument("place")
@click.option("--quick", "-q", is_flag=True)
def command(place, quick):
    click.echo(place, nl=False)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1) | st.just("--quick"))
def test_a_pasted_path_is_that_path(name):
    for words in (shlex.split(f"{pasted(name)} -q"), shlex.split(f"-q {pasted(Path(name))}")):
        done = CliRunner().invoke(command, words)
        assert done.exit_code == 0, done.stderr
        assert Path(done.stdout) == Path(name)
