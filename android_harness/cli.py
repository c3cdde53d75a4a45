"""`bilayer-device`: an avatar's network on a phone, measured and checked."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bilayer.android_harness.build_cli import build_runner_command
from bilayer.runtime.console import Command, Group, table

if TYPE_CHECKING:
    from bilayer.android_harness.results import Result

_as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_serial = click.option(
    "--serial", metavar="SERIAL", envvar="ANDROID_SERIAL", help="Which device, where there are several: see list."
)
_bundle = click.argument("bundle", type=click.Path(path_type=Path))
_route = click.option(
    "--route",
    type=click.Choice(["snpe", "qnn", "ncnn"]),
    help="ncnn needs no SDK: see --ncnn-runner.  [default: what the SDK has, SNPE first]",
)
_ncnn_runner = click.option(
    "--ncnn-runner",
    type=click.Path(path_type=Path),
    envvar="BILAYER_NCNN_RUNNER",
    help="Of --route ncnn, for the phone: docs/device.md has how to build it.",
)
_runner = click.option(
    "--runner",
    type=click.Path(path_type=Path),
    envvar="BILAYER_RUNNER",
    help="The sampler's runner, for the phone. [default: what build-runner made]",
)
_retarget = click.option(
    "--retarget",
    type=click.Choice(["absolute", "relative", "procrustes"]),
    default="relative",
    show_default=True,
    help="How the driver's landmarks become the avatar's: docs/motion.md.",
)
_timeout = click.option(
    "--timeout",
    type=click.FloatRange(1),
    default=600.0,
    show_default=True,
    help="Seconds for one process on the device.",
)
_clean = click.option("--clean", is_flag=True, help="Remove everything of ours from the device at the end.")


@click.group(cls=Group)
@click.version_option(package_name="bilayer")
def main() -> None:
    """Measure and check an avatar on an Android phone, through adb, with Qualcomm's SDK in $SNPE_ROOT or ncnn."""


@main.command("list", cls=Command)
@_as_json
def list_command(as_json: bool) -> None:
    """The devices that adb sees, ready or not."""
    from bilayer.android_harness.device.adb import Adb

    devices = Adb.find().devices()
    if as_json:
        click.echo(json.dumps([asdict(device) for device in devices], indent=2))
        return
    if not devices:
        click.echo("no devices; plug one in and turn on USB debugging in its developer options")
        return
    click.echo(table(["serial", "state", "model"], [(one.serial, one.state, one.model) for one in devices]))
    click.echo(f"\nWhat it is:\n  bilayer-device probe --serial {shlex.quote(devices[0].serial)}")


@main.command("probe", cls=Command)
@_serial
@_as_json
def probe_command(serial: str | None, as_json: bool) -> None:
    """What a device is, and how warm and fast it is now."""
    from bilayer.android_harness.cli_setup import find_device
    from bilayer.android_harness.device.conditions import read_conditions
    from bilayer.android_harness.device.probe import probe
    from bilayer.android_harness.routes.sdk import find_sdk
    from bilayer.runtime.errors import ToolMissingError

    device = find_device(serial)
    facts, now = probe(device), read_conditions(device)
    try:
        found = find_sdk()
        sdk = f"{found.version or found.era} for {found.target} (${found.variable})"
    except ToolMissingError as error:
        sdk = str(error)
    if as_json:
        click.echo(json.dumps({"device": asdict(facts), "conditions": asdict(now), "sdk_here": sdk}, indent=2))
        return
    rows = [(name.replace("_", " "), _shown(value)) for name, value in {**asdict(facts), **asdict(now)}.items()]
    click.echo(table(["", device.serial], [*rows, ("sdk here", sdk)]))
    click.echo(f"\nMeasure an avatar:\n  bilayer-device bench BUNDLE --serial {shlex.quote(device.serial)}")


@main.command("bench", cls=Command)
@_bundle
@_serial
@_route
@_ncnn_runner
@click.option("--mode", "modes", multiple=True, help="Of the route; may be repeated. [default: all]")
@click.option(
    "--drive", type=click.Path(path_type=Path), help="Landmark track of the poses. [default: built-in motion]"
)
@_retarget
@click.option("--executions", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Of one process.")
@click.option("--warm-up", type=click.IntRange(0, 10_000), default=20, show_default=True, help="Executions before it.")
@click.option("--processes", type=click.IntRange(1, 100), default=3, show_default=True, help="Of each mode.")
@click.option("--poses", "count", type=click.IntRange(1, 100), default=8, show_default=True, help="Different poses.")
@click.option(
    "--cool-down", type=click.FloatRange(0, 3600), default=60.0, show_default=True, help="Seconds at most, per process."
)
@_runner
@click.option("--sampler/--no-sampler", default=True, help="Time the sampler on the phone's processor.  [default: yes]")
@click.option("--sampler-runs", type=click.IntRange(1, 100_000), default=300, show_default=True, help="Frames of each.")
@_timeout
@click.option("--out", type=click.Path(path_type=Path), default=Path("device-result.json"), show_default=True)
@click.option("--logs", type=click.Path(path_type=Path, file_okay=False), help="Folder to keep the diagnostic logs in.")
@_clean
@_as_json
def bench_command(
    bundle: Path,
    serial: str | None,
    route: Any,
    ncnn_runner: Path | None,
    modes: Sequence[str],
    drive: Path | None,
    retarget: Any,
    executions: int,
    warm_up: int,
    processes: int,
    count: int,
    cool_down: float,
    runner: Path | None,
    sampler: bool,
    sampler_runs: int,
    timeout: float,
    out: Path,
    logs: Path | None,
    clean: bool,
    as_json: bool,
) -> None:
    """Latency, layers and parity of the avatar in BUNDLE on a device.

    An interrupted measurement goes on where it stopped when the same command is run again. Exits with 4 if a mode's
    results cannot be the same network's.
    """
    from bilayer.android_harness.bench.poses import spread
    from bilayer.android_harness.bench.run import BenchOptions, run_bench
    from bilayer.android_harness.bench.session import session_path
    from bilayer.android_harness.cli_setup import clean_up, make_setup, sampler_settings, say
    from bilayer.android_harness.report.tables import markdown
    from bilayer.android_harness.results import write_result
    from bilayer.android_harness.routes.vendor import choose_modes
    from bilayer.runtime.errors import ParityError

    setup, _ = make_setup(bundle, serial, route, ncnn_runner, drive, retarget)
    setup = replace(setup, poses=setup.poses[spread(len(setup.poses), count)])
    options = BenchOptions(
        modes=tuple(choose_modes(setup.backend.program, setup.backend.modes, modes)),
        executions=executions,
        warm_up=warm_up,
        processes=processes,
        poses=f"{len(setup.poses)} of {drive.name if drive else 'the built-in motion'}",
        cool_down=cool_down,
        timeout=timeout,
        logs=logs,
        sampler=sampler_settings(runner, sampler_runs) if sampler else None,
    )
    result = run_bench(setup, options, out, say)
    write_result(out, result)
    session_path(out).unlink(missing_ok=True)
    clean_up(setup, clean)
    click.echo(result.to_json() if as_json else markdown([result]), nl=False)
    if not as_json:
        click.echo(
            f"\nAs HTML, with others to compare:\n  bilayer-device report {shlex.quote(str(out))} --html report.html"
        )
    wrong = [row.mode for row in result.rows if row.parity and not row.parity.plausible]
    if wrong:
        raise ParityError(f"{out}: {', '.join(wrong)}: the device's results are not this network's; see its parity")
    unlike = [row.kernel for row in result.sampler.rows if not row.plausible] if result.sampler else []
    if unlike:
        raise ParityError(f"{out}: sampler {', '.join(unlike)}: frames unlike the Python sampler's; see its parity")


@main.command("run", cls=Command)
@_bundle
@click.option("--drive", type=click.Path(path_type=Path), required=True, help="Landmark track: .npy, .npz or .json.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help=".mp4, .gif or a new folder for PNGs.")
@_serial
@_route
@_ncnn_runner
@click.option("--mode", help="Of the route. [default: its first]")
@_retarget
@click.option("--frames", type=click.IntRange(1), help="Stop after so many.")
@_timeout
@_clean
@_as_json
def run_command(
    bundle: Path,
    drive: Path,
    out: Path,
    serial: str | None,
    route: Any,
    ncnn_runner: Path | None,
    mode: str | None,
    retarget: Any,
    frames: int | None,
    timeout: float,
    clean: bool,
    as_json: bool,
) -> None:
    """Drive the avatar in BUNDLE by a track: its network on the device, its texture sampled here."""
    from bilayer.android_harness.bench.playing import play
    from bilayer.android_harness.cli_setup import clean_up, make_setup, say
    from bilayer.android_harness.report.tables import PARITY_COLUMNS, decibels
    from bilayer.android_harness.routes.vendor import choose_modes
    from bilayer.runtime.errors import ParityError

    setup, rate = make_setup(bundle, serial, route, ncnn_runner, drive, retarget)
    setup = replace(setup, poses=setup.poses[:frames])
    (chosen, *_) = choose_modes(setup.backend.program, setup.backend.modes, [mode] if mode else [])
    played = play(setup, chosen, out, rate, timeout, say)
    clean_up(setup, clean)
    if as_json:
        click.echo(json.dumps({**asdict(played), "mode": chosen, "out": str(out)}, indent=2))
    else:
        figures = [(title, decibels(played.parity, name)) for name, title in PARITY_COLUMNS.items()]
        run_on = f"{setup.backend.modes[chosen]}, {played.measured_on}"
        click.echo(table(["", "value"], [("frames", played.frames), ("network on", run_on), *figures, ("out", out)]))
        command = ["bilayer-device", "bench", str(bundle), "--drive", str(drive), "--mode", chosen]
        click.echo(f"\nHow fast it is:\n  {shlex.join(command)}")
    if not played.parity.plausible:
        raise ParityError(f"{out}: {chosen}: the device's results are not this network's; see the figures above")


@main.command("report", cls=Command)
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write an HTML file with plots as well.")
@_as_json
def report_command(results: tuple[Path, ...], html_path: Path | None, as_json: bool) -> None:
    """Results of bench, side by side, as Markdown."""
    from bilayer.android_harness.report.html import html
    from bilayer.android_harness.report.tables import markdown
    from bilayer.android_harness.results import read_result
    from bilayer.runtime.files import replacing

    read: list[Result] = [read_result(path) for path in results]
    if html_path:
        with replacing(html_path) as part:
            part.write_text(html(read), encoding="utf-8")
    if as_json:
        click.echo(json.dumps([json.loads(result.to_json()) for result in read], indent=2))
        return
    click.echo(markdown(read), nl=False)
    if html_path:
        click.echo(f"wrote {html_path}", err=True)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, list):
        return ", ".join(f"{one:.0f}" if isinstance(one, float) else str(one) for one in value) or "-"
    return str(value) or "-"


main.add_command(build_runner_command)

if __name__ == "__main__":
    main()
