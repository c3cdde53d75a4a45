"""What a measurement is made of, how it goes, and what its steps work on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bilayer.android_harness.bench.outcome import measured_on
from bilayer.android_harness.bench.parity import Emulation, Reference, no_emulation
from bilayer.android_harness.bench.sampler import Layout, SamplerSettings, layout_of
from bilayer.android_harness.bench.session import Session, session_path
from bilayer.android_harness.device.adb import Device
from bilayer.android_harness.device.probe import DeviceFacts
from bilayer.android_harness.device.workspace import Workspace
from bilayer.android_harness.routes.backend import Backend
from bilayer.android_harness.routes.vendor import Mode
from bilayer.runtime.arrays import Floats
from bilayer.runtime.bundle import Bundle


@dataclass(frozen=True)
class BenchOptions:
    """The protocol of a measurement; the defaults are the paper's, as far as it tells."""

    modes: tuple[Mode, ...]  # of the route, measured in turn so that heat falls on all alike
    executions: int = 100  # of a timed process, all of which its mean counts
    warm_up: int = 20  # executions of a process of their own before it: the vendor's log has no mean without them
    processes: int = 3  # timed ones of each mode: they differ more among each other than their executions do
    poses: str = "the built-in motion"  # where they are from, for the result
    cool_down: float = 60.0  # seconds at the longest before a timed process, until it is as cool as at the start
    timeout: float = 600.0  # seconds for one process on the device
    logs: Path | None = None  # folder to keep the diagnostic logs in
    sampler: SamplerSettings | None = None  # how to time the sampler; None: leave it out


@dataclass(frozen=True, eq=False)
class BenchSetup:
    """The avatar that is measured, the device, and the program and poses that run it."""

    device: Device
    bundle: Bundle
    backend: Backend  # the program that runs the bundle's network on the device
    poses: Floats  # (P, 136), repeated until there are enough
    emulation: Emulation = no_emulation  # of FP16, which what the device gives is held to


@dataclass(frozen=True, eq=False)
class Measurement:
    """A measurement under way: its steps add to the session, nothing else of it changes."""

    setup: BenchSetup
    options: BenchOptions
    out: Path  # of the result; the session is saved beside it
    say: Callable[[str], None]  # called with a line of progress
    workspace: Workspace
    reference: Reference
    facts: DeviceFacts
    program_sha256: str
    runner_sha256: str  # empty without the sampler
    session: Session

    @property
    def on_device(self) -> bool:
        """Whether times are a device's, by all that is known so far: only such are kept."""
        return measured_on(self.facts, self.setup.backend.executable, self.session.runtime)[0] == "device"

    @property
    def sampler_layout(self) -> Layout:
        """The order in which the sampler finds the network's outputs in memory."""
        return layout_of(self.setup.bundle.contract.outputs, self.setup.backend.layout)

    def save(self) -> None:
        """Keep what the session has, from which an interrupted measurement goes on, or raise an OutputError."""
        self.session.save(session_path(self.out))
