"""What runs an avatar's network on a device, as a measurement sees it: files to bring, a command, a log to read."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bilayer.android_harness.routes.diagnostics import Profile, parse_profile
from bilayer.android_harness.routes.sdk import Sdk
from bilayer.android_harness.routes.vendor import Mode, Profiling, Route
from bilayer.runtime.bundle import Bundle
from bilayer.runtime.errors import DeviceError, ToolMissingError
from bilayer.runtime.files.reading import is_file
from bilayer.runtime.process.subprocesses import run

XNNPACK_THREADS = 4  # the large cores of the Snapdragons from 845 on
VIEWER_SECONDS = 120.0  # snpe-diagview and its like, here


@dataclass(frozen=True)
class ConvertedModel:
    """The file that a program runs, made of the bundle's .onnx."""

    sha256: str
    tool: str  # what made it


class Backend(ABC):
    """A program that runs one network on a device."""

    name: str  # of the route
    program: str  # file name, here and on the device
    executable: Path  # the program here
    modes: Mapping[Mode, str]  # what it can run on, and what that is called
    logs: tuple[str, ...]  # names that its log may have, in the output folder
    layout: str  # of the files that it writes: NHWC or NCHW
    version: str  # of the toolkit, as far as it is known here
    has_layers = False  # a detailed profile tells the layers' times
    silent = "it printed nothing"  # what to say of it where it failed without a word
    names_outputs = False  # its input lists say which outputs to return
    model: ConvertedModel

    @abstractmethod
    def files(self) -> dict[str, Path]:
        """Return the files that go to the device, by name there, or raise a ToolMissingError where one is not here."""

    @abstractmethod
    def command(self, mode: Mode, profiling: Profiling, input_list: str) -> str:
        """Return the command for the device's shell in its folder, to run the inputs of the list and write to OUT."""

    @abstractmethod
    def read_log(self, log: Path) -> tuple[Profile, str]:
        """Read a log of the program: what it measured, and the log as a text.

        Raises:
            ToolMissingError: what reads it does not start here.
            DeviceError: it cannot be read.
        """


def named_program(named: Path | None, program: str, option: str, way_out: str) -> Path:
    """Return the program that the user names by an option, here without its dashes, or by the option's variable.

    Raises:
        ToolMissingError: none is named, or it is not there; `way_out` says how to have one.
    """
    if named is not None and is_file(named):
        return named
    given = f"give --{option} or set $BILAYER_{option.upper().replace('-', '_')}"
    what = f"{named}: no such file" if named else f"no {program}: {given}"
    raise ToolMissingError(f"{what}. {way_out}")


class VendorBackend(Backend):
    """One of Qualcomm's programs, for a bundle's .dlc.

    Raises:
        ToolMissingError: the SDK does not have it.
    """

    def __init__(self, route: Route, sdk: Sdk, bundle: Bundle) -> None:
        file, dlc = bundle.contract.files.dlc, bundle.contract.dlc
        assert file is not None  # choose_route saw to it
        assert dlc is not None
        self._route, self._sdk, self._model = route, sdk, bundle.path(file)
        self._viewer = sdk.host_tool(route.viewer)
        self.name, self.program, self.modes, self.logs = route.name, route.program, route.modes_for(bundle), route.logs
        self._integers = bundle.contract.quantization is not None
        self.executable = sdk.program(route.program)
        self.layout, self.version, self.has_layers = dlc.layout, sdk.version or sdk.era, True
        self.names_outputs = route.names_outputs
        self.model = ConvertedModel(file.sha256, dlc.tool)

    def files(self) -> dict[str, Path]:
        """Return the program and the network, by their names on the device."""
        return self._route.files(self._sdk, self._model, self._integers)

    def command(self, mode: Mode, profiling: Profiling, input_list: str) -> str:
        """Return the command that runs the program over the inputs of the list."""
        return self._route.command(mode, profiling, input_list)

    def read_log(self, log: Path) -> tuple[Profile, str]:
        """Read a log of the program, as a profile and as a text."""
        arguments = [str(self._viewer), "--input_log", str(log)]
        kept, environment = log.with_suffix(".txt"), self._sdk.host_environment()
        done = run(arguments, folder=log.parent, environment=environment, log=kept, timeout=VIEWER_SECONDS)
        if done.code != 0:
            raise DeviceError(
                f"{self._viewer} {done.how}: {done.last_line or 'it printed nothing'}; does it run on this machine?"
            )
        return parse_profile(done.log, f"{self._route.viewer} of {log.name}"), done.log
