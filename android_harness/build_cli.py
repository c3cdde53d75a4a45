"""`bilayer-device build-runner`."""

import shlex
from pathlib import Path

import click

from bilayer.runtime.console import Command, as_json_option, progress, show, table


@click.command("build-runner", cls=Command)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="[default: in the cache, where bench finds it]")
@as_json_option
def build_runner_command(out: Path | None, as_json: bool) -> None:
    """Compile what times the sampler on a phone, with the NDK of $ANDROID_NDK_HOME or aarch64-linux-gnu-g++.

    Exits with 5 and the command to give to a compiler if there is none here.
    """
    from bilayer.android_harness.routes.runner_build import build_runner, find_compiler, kept_runner

    compiler = find_compiler()
    with progress("compiling", 2) as advance:
        program = build_runner(out or kept_runner(), compiler, advance=lambda line: advance(description=line))
    found = {"out": str(program), "bytes": program.stat().st_size, "compiler": compiler.command[0]}
    named = f" --runner {shlex.quote(str(program))}" if out else ""
    show(found, lambda: table(["", "value"], found.items()), as_json, f"bilayer-device bench BUNDLE{named}")
