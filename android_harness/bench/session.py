"""What a measurement has got so far, in a file beside its result: an interrupted one goes on from there."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bilayer.android_harness.results import Moment, Parity, SamplerRow
from bilayer.android_harness.routes.diagnostics import LayerTime
from bilayer.runtime.errors import InputError
from bilayer.runtime.files.writing import write_file
from bilayer.runtime.typed_json import read_content, typed


@dataclass(frozen=True)
class SessionProcess:
    """One process that ran to its end; its times are None unless on a device."""

    mode: str
    total_us: float | None
    forward_us: float | None
    init_us: float | None
    busy_gpu_mhz: float | None
    throttled: list[str]
    cooled: bool
    series: list[Moment]


@dataclass
class Session:
    """What a measurement has got so far."""

    key: str  # of all that it depends on
    start_celsius: float | None = None
    runtime: str = ""  # by the logs; modes may tell of several, which "; " parts
    missing: dict[str, str] = field(default_factory=dict)  # by mode
    parity: dict[str, Parity] = field(default_factory=dict)
    processes: list[SessionProcess] = field(default_factory=list)
    layers: dict[str, list[LayerTime]] = field(default_factory=dict)
    sampler: list[SamplerRow] | None = None
    sampler_key: str = ""  # of the runner that timed it, and how often: these may change without all else being lost

    def of(self, mode: str) -> list[SessionProcess]:
        """Return the processes of a mode, in the order in which they ran."""
        return [process for process in self.processes if process.mode == mode]

    def note_runtime(self, told: str) -> None:
        """Add what a process's log tells of its runtime, if no other has told the same."""
        known = self.runtime.split("; ") if self.runtime else []
        self.runtime = "; ".join(dict.fromkeys([*known, *([told] if told else [])]))

    def save(self, path: Path) -> None:
        """Write the session as JSON, or raise an OutputError where the place cannot be written to."""
        write_file(path, json.dumps(asdict(self), indent=1, allow_nan=False))


def session_path(out: Path) -> Path:
    """Return the path of the session that belongs to a result: beside it, with .partial added."""
    return out.with_name(f"{out.name}.partial")


def session_key(*parts: object) -> str:
    """Return a digest of all that a measurement depends on, by which a session is known to be of the same."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def open_session(out: Path, key: str) -> Session:
    """Return the session of an interrupted measurement of the same kind, or a new one."""
    try:
        session = typed(Session, read_content(session_path(out)), "session", complete=True)
    except InputError:
        return Session(key)
    return session if session.key == key else Session(key)
