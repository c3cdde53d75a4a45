"""What the commands of `bilayer-device` may be asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import click

from bilayer.android_harness.routes.vendor import Mode
from bilayer.runtime.bundle import Bundle, read_bundle
from bilayer.runtime.command.options import Option, is_typed, refuse_typed
from bilayer.runtime.files.given import check_kind_of, check_program, check_track_file
from bilayer.runtime.files.kinds import DATA, EMPTY, TEXT
from bilayer.runtime.files.places import check_video
from bilayer.runtime.files.released import check_kept
from bilayer.runtime.files.writing import check_apart, check_output
from bilayer.runtime.vocabulary import PAGE_SUFFIXES, VIDEO_SUFFIXES, RetargetMode

# Options of one route alone
_OF_ROUTES = {
    "ncnn_runner": ("--ncnn-runner", "ncnn"), "benchmark_model": ("--benchmark-model", "litert"),
    "executor_runner": ("--executor-runner", "executorch"), "hosted_device": ("--hosted-device", "aihub"),
}  # fmt: skip
# Options of bench that are about a phone at hand
_OF_OWN_PHONES = {
    "serial": "--serial", "runner": "--runner", "sampler": "--no-sampler",
    "executions": "--repeats", "warm_up": "--warm-up", "processes": "--processes", "cool_down": "--cool-down",
    "timeout": "--timeout", "clean": "--clean", "sampler_runs": "--sampler-runs", "logs": "--logs",
}  # fmt: skip
_BY_VARIABLES = ("serial", "runner", "ncnn_runner", "benchmark_model", "executor_runner")  # of the environment
RouteChoice = Literal["snpe", "qnn", "ncnn", "litert", "executorch", "aihub"]


@dataclass(frozen=True, kw_only=True)
class DeviceChoice:
    """Which device a command is for."""

    serial: Annotated[
        str | None,
        Option("Which device, where there are several: see list.", metavar="SERIAL", envvar="ANDROID_SERIAL"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class AvatarOptions(DeviceChoice):
    """The options of all commands that run an avatar on a device."""

    bundle: Annotated[Path, Option(argument=True)]
    drive: Annotated[Path | None, Option("A landmark track (.npy .npz .json).", default="the built-in motion")] = None
    retarget: Annotated[RetargetMode, Option("How the driver's landmarks become the avatar's: docs/motion.md.")] = (
        "relative"
    )
    route: Annotated[
        RouteChoice | None,
        Option("ncnn, litert, executorch, aihub need no SDK: docs/device.md.", default="what the SDK has, SNPE first"),
    ] = None
    ncnn_runner: Annotated[
        Path | None,
        Option("Of --route ncnn, for the phone: docs/device.md has how to build it.", envvar="BILAYER_NCNN_RUNNER"),
    ] = None
    benchmark_model: Annotated[
        Path | None, Option("Of --route litert: LiteRT's own, for the phone.", envvar="BILAYER_BENCHMARK_MODEL")
    ] = None
    executor_runner: Annotated[
        Path | None, Option("Of --route executorch: its own, for the phone.", envvar="BILAYER_EXECUTOR_RUNNER")
    ] = None
    timeout: Annotated[float, Option("Seconds for one process on the device.", at_least=1)] = 600.0
    clean: Annotated[bool, Option("Remove everything of ours from the device at the end.")] = False

    def check(self) -> Bundle:
        """Return the bundle, which is looked at without a library or a device.

        Raises:
            UsageError: options that do not go with the route, and would do nothing.
            InputError: the bundle, the track or a program cannot be used.
        """
        for field, (word, route) in _OF_ROUTES.items():
            if route != self.route and self._is_given(field):
                found = f"expected --route {route} with it, found {self.route or 'none'}"
                raise click.UsageError(f"{word}: {found}; give that, or leave it out")
        if self.drive is None:
            refuse_typed("the built-in motion is in the avatar's own landmarks", ["retarget"])
        check_track_file(self.drive)
        for field in ("ncnn_runner", "benchmark_model", "executor_runner", "runner"):
            check_program(getattr(self, field, None), "docs/device.md")
        return read_bundle(self.bundle)

    def _is_given(self, field: str) -> bool:
        """Return whether somebody asks for it now: what a variable of the environment says is for other commands."""
        setting = type(self).__dataclass_fields__.get(field)
        if setting is None:
            return False
        return is_typed(field) or (field not in _BY_VARIABLES and getattr(self, field) != setting.default)


@dataclass(frozen=True, kw_only=True)
class BenchCommandOptions(AvatarOptions):
    """The options of `bench`: what it measures, and how often."""

    modes: Annotated[tuple[Mode, ...], Option("Of the route; may be repeated.", ("--mode",), default="all")] = ()
    executions: Annotated[
        int,
        Option("Timed executions of one process.", ("--repeats",), former="--executions", at_least=1, at_most=10_000),
    ] = 100
    warm_up: Annotated[int, Option("Executions before the timed ones.", at_least=0, at_most=10_000)] = 20
    processes: Annotated[int, Option("Processes of each mode.", at_least=1, at_most=100)] = 3
    poses: Annotated[int, Option("Poses along the track.", at_least=1, at_most=100)] = 8
    cool_down: Annotated[float, Option("Seconds at most, per process.", at_least=0, at_most=3600)] = 60.0
    runner: Annotated[
        Path | None,
        Option("The sampler's runner, for the phone.", envvar="BILAYER_RUNNER", default="what build-runner made"),
    ] = None
    sampler: Annotated[bool, Option("Time the sampler on the phone's processor.")] = True
    sampler_runs: Annotated[int, Option("Frames of each sampler.", at_least=1, at_most=100_000)] = 300
    out: Annotated[Path, Option("The result, JSON.", ("-o",), suffixes=(".json",))] = Path("device-result.json")
    logs: Annotated[Path | None, Option("Folder to keep the diagnostic logs in.")] = None
    hosted_device: Annotated[str | None, Option("Of --route aihub: a phone by its name there.", metavar="NAME")] = None

    def check(self) -> Bundle:
        """Check what `AvatarOptions` checks, and the result's place, or raise an OutputError."""
        self._check_route()
        check_output(self.out)
        if self.logs is not None:
            check_output(self.logs / "log")
        avatar = super().check()
        check_apart([self.out], (self.drive, self.bundle, *avatar.paths))
        return avatar

    def _check_route(self) -> None:
        """Raise a UsageError of options that would be ignored."""
        given = [word for field, word in _OF_OWN_PHONES.items() if self._is_given(field)]
        if self.route == "aihub" and given:
            words = ", ".join(given)
            raise click.UsageError(
                f"--route aihub: the service measures in its own way, without {words}; leave that out"
            )
        if not self.sampler and (self._is_given("runner") or self._is_given("sampler_runs")):
            raise click.UsageError("--no-sampler times none: leave --runner and --sampler-runs away")


@dataclass(frozen=True, kw_only=True)
class RunCommandOptions(AvatarOptions):
    """The options of `run`: where frames go, and what they are computed on."""

    out: Annotated[Path, Option(".mp4, .gif or a new folder for PNGs.", ("-o",), suffixes=VIDEO_SUFFIXES)]
    mode: Annotated[Mode | None, Option("Of the route.", default="its first")] = None
    frames: Annotated[int | None, Option("Stop after so many.", at_least=1)] = None

    def check(self) -> Bundle:
        """Check what `AvatarOptions` checks, or raise an OutputError where frames cannot be written there."""
        if self.route == "aihub":
            raise click.UsageError("--route aihub: expected bench, which alone runs on hosted phones")
        check_video(self.out)
        return super().check()


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """The options of `report`: which results, and where their page goes."""

    results: Annotated[tuple[Path, ...], Option(argument=True)]
    html: Annotated[Path | None, Option("Write an HTML page with charts as well.", suffixes=PAGE_SUFFIXES)] = None

    def check(self) -> None:
        """Raise an InputError where a result is not there, or an OutputError where the page cannot be written."""
        for path in self.results:
            check_kind_of(path, "a result (.json)", (TEXT, DATA, EMPTY), "name what bench wrote")
        if self.html is not None:
            check_output(self.html)
            check_apart([self.html], self.results)


@dataclass(frozen=True, kw_only=True)
class RunnerOptions:
    """The options of `build-runner`: where the program goes."""

    out: Annotated[Path | None, Option("The program.", ("-o",), default="in the cache, where bench finds it")] = None

    def check(self) -> None:
        """Raise an OutputError where the program cannot be written, before anything is compiled."""
        if self.out is not None:
            check_output(self.out)
        else:
            from bilayer.android_harness.routes.runner_build import kept_runner  # numpy is loaded with it

            check_kept(kept_runner())
