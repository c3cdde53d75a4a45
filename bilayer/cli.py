"""`bilayer`: all commands under one name, none loaded before it is run; and `bilayer demo`."""

import importlib
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from bilayer.entry import COMMANDS
from bilayer.runtime.bundle_names import BUNDLE_SUFFIXES
from bilayer.runtime.command.console import Group, as_json_option, show
from bilayer.runtime.command.extras import naming_extras
from bilayer.runtime.command.options import Option, fills
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.files.writing import check_apart, check_output

if TYPE_CHECKING:
    from bilayer.runtime.agreement import Kind
    from bilayer.runtime.arrays import Floats
    from bilayer.runtime.bundle import Bundle
    from bilayer.runtime.frame import NetworkOutputs


class LazyGroup(Group):
    """Its own commands, and those of COMMANDS, which are imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, its own first."""
        return [*super().list_commands(ctx), *COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name; None if there is none."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).main
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named, or raise a UsageError that names the one that may be meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if "Did you mean" not in error.message:  # click looks among its own commands alone
                for meant in get_close_matches(args[0], COMMANDS, 1):
                    raise click.UsageError(f"{error.message} Did you mean {meant!r}?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands for --help, without importing one."""
        own = [(name, command.get_short_help_str(80)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl([*own, *((name, text) for name, (_, text) in COMMANDS.items())])


def emulated_outputs(bundle: "Bundle", poses: "Floats", kind: "Kind") -> "list[NetworkOutputs]":
    """Return a bundle's results for poses (P, 136) in emulated FP16: in fp16-hybrid, or of fp16 the worse end.

    Raises:
        BundleError: a network that bilayer-export did not write.
        ToolMissingError: torch or onnx is not installed.
    """
    with naming_extras():
        from bilayer.benchmarks.parity.rungs.rung import EmulatedRung
        from bilayer.benchmarks.parity.subject import open_subject

        subject = open_subject(bundle, poses)
        rung = EmulatedRung(subject, "hybrid" if kind == "fp16-hybrid" else "sequential")
        return rung.results(list(range(len(poses))))


@click.group(cls=LazyGroup)
@click.pass_context
def main(context: click.Context) -> None:
    """One-shot head avatars: `bilayer export ...` is `bilayer-export ...`, and so on."""
    context.obj = emulated_outputs  # which bilayer device needs, and may not import


def device() -> None:
    """Run `bilayer-device` with the emulation of FP16, which android_harness may not import."""
    from bilayer.android_harness.cli import main as command

    command(obj=emulated_outputs)


@dataclass(frozen=True)
class DemoOptions:
    """The options of `demo`: of whom it makes an avatar, where to, and how long that moves."""

    photo: Annotated[Path, Option(argument=True)]
    out: Annotated[
        Path,
        Option(
            "As bilayer-export takes it: a folder, or any file of the avatar.", ("-o",), suffixes=(*BUNDLE_SUFFIXES, "")
        ),
    ] = Path("avatar")
    seconds: Annotated[float, Option("Of the built-in motion.", at_least=0.04, at_most=6)] = 4.0


@main.command()
@fills(DemoOptions)
@as_json_option
def demo(options: DemoOptions, as_json: bool) -> None:
    """PHOTO to an avatar that moves: a short video, by the demo weights.

    What it writes is what bilayer-export and bilayer-render write, without a .dlc.
    """
    from bilayer.export.cli import run_export
    from bilayer.export.options import ExportOptions, bundle_dlc
    from bilayer.runtime.rendering.cli import render
    from bilayer.runtime.rendering.options import RenderOptions

    dlc = bundle_dlc(options.out)
    whose = "" if dlc.parent == options.out else f"{dlc.stem}."  # in a folder of others' files it is the avatar's own
    video = dlc.with_name(f"{whose}demo.{'mp4' if find_spec('av') else 'gif'}")
    check_output(video)
    check_apart([video], [options.photo])
    export, contract = run_export(ExportOptions(options.photo, dlc, target="none"))
    clip = RenderOptions(contract, video, demo_motion=True, frames=max(1, round(options.seconds * 25)))
    _, rendered, rate = render(clip)
    report = {"out": str(video), "bundle": str(dlc.parent), "frames": rendered.frames, "frame_rate": rate}
    size = export.bundle.contract.frame_size
    text = f"{contract}  the avatar\n{video}  {rendered.frames} frames of {size} px: open this file"
    following = f"bilayer-render {pasted(contract)} --drive VIDEO_OR_PHOTO --out driven{video.suffix}"
    show(report, lambda: text, as_json, following)


if __name__ == "__main__":
    main(prog_name="bilayer")
