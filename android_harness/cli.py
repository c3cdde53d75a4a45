"""`bilayer-device`: an avatar's network on a phone, measured and checked."""

import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bilayer.android_harness.options import (
    BenchCommandOptions,
    DeviceChoice,
    ReportOptions,
    RunCommandOptions,
    RunnerOptions,
)
from bilayer.runtime.command.console import Group, as_json_option, look_at, progress, show, table
from bilayer.runtime.command.options import fills
from bilayer.runtime.files.reading import size_of
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.files.writing import write_file

if TYPE_CHECKING:
    from bilayer.android_harness.bench.parity import Emulation
    from bilayer.android_harness.results import Parity, Result
    from bilayer.runtime.bundle import Bundle


@click.group(cls=Group)
def main() -> None:
    """Measure and check an avatar on an Android phone, through adb: by Qualcomm's SDK, LiteRT, ExecuTorch or ncnn."""


@main.command("list")
@as_json_option
def list_command(as_json: bool) -> None:
    """The devices that adb sees, ready or not."""
    from bilayer.android_harness.device.adb import Adb

    devices = Adb.find().devices()
    rows = table(["serial", "state", "model"], [(one.serial, one.state, one.model) for one in devices])
    none = "no devices; plug one in and turn on USB debugging in its developer options"
    ready = next((one.serial for one in devices if one.state == "device"), "")
    following = f"bilayer-device probe --serial {shlex.quote(ready)}" if ready else ""
    show({"devices": [asdict(one) for one in devices]}, lambda: rows if devices else none, as_json, following)


@main.command("probe")
@fills(DeviceChoice)
@as_json_option
def probe_command(options: DeviceChoice, as_json: bool) -> None:
    """Tell what a device is, and how warm and fast it is now."""
    from bilayer.android_harness.cli_setup import find_device
    from bilayer.android_harness.device.conditions import read_conditions
    from bilayer.android_harness.device.probe import probe
    from bilayer.android_harness.routes.sdk import find_sdk
    from bilayer.runtime.errors import ToolMissingError

    device = find_device(options.serial)
    facts, now = probe(device), read_conditions(device)
    try:
        found = find_sdk()
        sdk = f"{found.version or found.era} for {found.target} (${found.variable})"
    except ToolMissingError as error:
        sdk = str(error)
    rows = [(name.replace("_", " "), _shown(value)) for name, value in {**asdict(facts), **asdict(now)}.items()]
    text = table(["", device.serial], [*rows, ("sdk here", sdk)])
    following = f"bilayer-device bench BUNDLE --serial {shlex.quote(device.serial)}"
    show({"device": asdict(facts), "conditions": asdict(now), "sdk_here": sdk}, lambda: text, as_json, following)


@main.command("bench")
@fills(BenchCommandOptions)
@as_json_option
@click.pass_obj
def bench_command(emulation: "Emulation | None", options: BenchCommandOptions, as_json: bool) -> None:
    """Latency, layers and parity of the avatar in BUNDLE on a device.

    An interrupted measurement goes on where it stopped when the same command is run again. Exits with 4 if a mode's
    results are not the network's, by the gate of bilayer-parity.
    """
    bundle = options.check()
    from bilayer.android_harness.bench.run import run_bench
    from bilayer.android_harness.bench.session import session_path
    from bilayer.android_harness.bench.setup import BenchOptions
    from bilayer.android_harness.cli_setup import clean_up, make_setup, sampler_settings, say
    from bilayer.runtime.motion.poses import spread

    out = options.out
    if options.route == "aihub":
        _finish(out, _hosted(options, bundle, emulation), as_json)
        return
    setup, _, modes = make_setup(options, bundle, options.modes, emulation)
    setup = replace(setup, poses=setup.poses[spread(len(setup.poses), options.poses)])
    measured = BenchOptions(
        modes=tuple(modes),
        executions=options.executions,
        warm_up=options.warm_up,
        processes=options.processes,
        poses=f"{len(setup.poses)} of {options.drive.name if options.drive else 'the built-in motion'}",
        cool_down=options.cool_down,
        timeout=options.timeout,
        logs=options.logs,
        sampler=sampler_settings(options.runner, options.sampler_runs) if options.sampler else None,
    )
    result = run_bench(setup, measured, out, say)
    session_path(out).unlink(missing_ok=True)
    clean_up(setup, options.clean)
    _finish(out, result, as_json)


def _hosted(options: BenchCommandOptions, bundle: "Bundle", emulation: "Emulation | None") -> "Result":
    from bilayer.android_harness.bench.hosted import run_hosted
    from bilayer.android_harness.bench.parity import Reference, no_emulation
    from bilayer.android_harness.cli_setup import say
    from bilayer.runtime.motion.poses import load_poses, spread

    poses, _ = load_poses(bundle.contract.source.pose, options.drive, options.retarget)
    poses = poses[spread(len(poses), options.poses)]
    described = f"{len(poses)} of {options.drive.name if options.drive else 'the built-in motion'}"
    reference = Reference(bundle, "numpy", emulation or no_emulation)
    return run_hosted(bundle, poses, options.hosted_device, options.modes, described, reference, say)


def _finish(out: Path, result: "Result", as_json: bool) -> None:
    """Write the result, show it, and end with a ParityError if it is another network's."""
    from bilayer.android_harness.report.tables import make_report
    from bilayer.android_harness.results import write_result
    from bilayer.runtime.errors import ParityError

    write_result(out, result)
    following = f"bilayer-device report {pasted(out)} --html report.html"
    show(json.loads(result.to_json()), lambda: make_report([result]).markdown().rstrip("\n"), as_json, following)
    wrong = [_wrong(row.mode, row.parity) for row in result.rows if row.parity and not row.parity.plausible]
    if wrong:
        raise ParityError(f"{out}: {'; '.join(wrong)}")
    unlike = [row.kernel for row in result.sampler.rows if not row.plausible] if result.sampler else []
    if unlike:
        raise ParityError(f"{out}: sampler {', '.join(unlike)}: frames unlike the Python sampler's; see its parity")


@main.command("run")
@fills(RunCommandOptions)
@as_json_option
@click.pass_obj
def run_command(emulation: "Emulation | None", options: RunCommandOptions, as_json: bool) -> None:
    """Drive the avatar in BUNDLE by a track: its network on the device, its texture sampled here."""
    bundle = options.check()
    from bilayer.android_harness.bench.playing import play
    from bilayer.android_harness.cli_setup import clean_up, make_setup, say
    from bilayer.android_harness.report.cells import PARITY_COLUMNS, psnr_text
    from bilayer.runtime.errors import ParityError

    setup, rate, (chosen, *_) = make_setup(options, bundle, [options.mode] if options.mode else [], emulation)
    out, setup = options.out, replace(setup, poses=setup.poses[: options.frames])
    played = play(setup, chosen, out, rate, options.timeout, say)
    clean_up(setup, options.clean)
    figures = [(title, psnr_text(played.parity, name)) for name, title in PARITY_COLUMNS.items()]
    run_on = f"{setup.backend.modes[chosen]}, {played.measured_on}"
    text = table(["", "value"], [("frames", played.frames), ("network on", run_on), *figures, ("out", out)])
    drive = f" --drive {pasted(options.drive)}" if options.drive else ""
    following = f"bilayer-device bench {pasted(options.bundle)}{drive} --mode {chosen}"
    show({**asdict(played), "mode": chosen, "out": str(out)}, lambda: text, as_json, following)
    if not played.parity.plausible:
        raise ParityError(f"{out}: {_wrong(chosen, played.parity)}")
    if played.parity.ruling.reasons:
        say(f"warning: {chosen}: {'; '.join(played.parity.ruling.reasons)}")


@main.command("report")
@fills(ReportOptions)
@as_json_option
def report_command(options: ReportOptions, as_json: bool) -> None:
    """Results of bench, side by side, as Markdown."""
    options.check()
    from bilayer.android_harness.report.pictures import page
    from bilayer.android_harness.report.tables import make_report
    from bilayer.android_harness.results import read_result

    read: list[Result] = [read_result(path) for path in options.results]
    if options.html:
        write_file(options.html, page(read))
    following = look_at(options.html) if options.html else ""
    report = {"results": [json.loads(result.to_json()) for result in read]}
    show(report, lambda: make_report(read).markdown().rstrip("\n"), as_json, following)


@main.command("build-runner")
@fills(RunnerOptions)
@as_json_option
def build_runner_command(options: RunnerOptions, as_json: bool) -> None:
    """Compile what times the sampler on a phone, with the NDK of $ANDROID_NDK_HOME or aarch64-linux-gnu-g++.

    Exits with 5 and the command to give to a compiler if there is none here.
    """
    from bilayer.android_harness.routes.runner_build import build_runner, find_compiler, kept_runner

    options.check()
    out = options.out or kept_runner()
    compiler = find_compiler()
    with progress("compiling", 2) as advance:
        program = build_runner(out, compiler, advance=lambda line: advance(description=line))
    found = {"out": str(program), "bytes": size_of(program), "compiler": compiler.command[0]}
    named = f" --runner {pasted(program)}" if options.out else ""
    show(found, lambda: table(["", "value"], found.items()), as_json, f"bilayer-device bench BUNDLE{named}")


def _wrong(mode: str, parity: "Parity") -> str:
    reasons = ", ".join(parity.ruling.reasons)
    return f"{mode}: the device's results are not this network's in {parity.kind}: {reasons}"


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, list):
        return ", ".join(f"{one:.0f}" if isinstance(one, float) else str(one) for one in value) or "-"
    return str(value) or "-"


if __name__ == "__main__":
    main()
