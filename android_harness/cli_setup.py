"""What the commands of `bilayer-device` that touch a device begin and end with."""

from collections.abc import Sequence
from pathlib import Path

import click

from bilayer.android_harness.bench.parity import Emulation, no_emulation
from bilayer.android_harness.bench.sampler import SamplerSettings
from bilayer.android_harness.bench.setup import BenchSetup
from bilayer.android_harness.device.adb import Adb, Device
from bilayer.android_harness.device.workspace import Workspace
from bilayer.android_harness.options import AvatarOptions
from bilayer.android_harness.routes.backend import Backend, VendorBackend
from bilayer.android_harness.routes.executorch import ExecutorchBackend, find_executor_runner
from bilayer.android_harness.routes.litert import LitertBackend, find_benchmark_model
from bilayer.android_harness.routes.ncnn import NcnnBackend, find_ncnn_runner
from bilayer.android_harness.routes.runner_build import find_runner
from bilayer.android_harness.routes.sdk import find_sdk
from bilayer.android_harness.routes.vendor import Mode, choose_modes, choose_route
from bilayer.runtime.bundle import Bundle
from bilayer.runtime.errors import InputError
from bilayer.runtime.motion.poses import load_poses


def find_device(serial: str | None) -> Device:
    """Return the one device, or that of a serial number."""
    return Adb.find().choose(serial)


def make_setup(
    options: AvatarOptions, bundle: Bundle, modes: Sequence[Mode], emulation: Emulation | None
) -> tuple[BenchSetup, float, list[Mode]]:
    """Return what to run of the bundle that `options.check` gave, checked before the device is asked for, with the
    track's frames a second.

    Last come those of the route's modes that are wanted, in its order; none are all.
    """
    poses, rate = load_poses(bundle.contract.source.pose, options.drive, options.retarget)
    backend = _backend(bundle, options)
    chosen = choose_modes(backend.program, backend.modes, modes)
    return BenchSetup(find_device(options.serial), bundle, backend, poses, emulation or no_emulation), rate, chosen


def _backend(bundle: Bundle, options: AvatarOptions) -> Backend:
    if options.route == "ncnn":
        return NcnnBackend(find_ncnn_runner(options.ncnn_runner), bundle)
    if options.route == "litert":
        return LitertBackend(find_benchmark_model(options.benchmark_model), bundle)
    if options.route == "executorch":
        return ExecutorchBackend(find_executor_runner(options.executor_runner), bundle)
    if options.route == "aihub":
        raise InputError("--route aihub: expected bench, which alone runs on hosted phones")
    sdk = find_sdk()
    return VendorBackend(choose_route(sdk, bundle, options.route), sdk, bundle)


def sampler_settings(given: Path | None, runs: int) -> SamplerSettings | None:
    """Return how to time the sampler; None, and a line to stderr, where there is nothing to time it with."""
    runner = find_runner(given)
    if runner is None:
        say("the sampler is left out: bilayer-device build-runner makes what times it; or give --runner")
        return None
    return SamplerSettings(runner, runs, runs // 5)


def clean_up(setup: BenchSetup, clean: bool) -> None:
    """Leave nothing on the device, if that is wanted."""
    if clean:
        Workspace(setup.device).clean()


def say(line: str) -> None:
    """Print a line of progress to stderr."""
    click.echo(line, err=True)
