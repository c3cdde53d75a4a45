"""Android devices through the `adb` client: one process per action, an argument list, a time limit.

`adb shell` hands its words to a shell on the device, so they are quoted once more for that one. The port of adb's
server is the user's own business ($ANDROID_ADB_SERVER_PORT).
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bilayer.runtime.errors import DeviceError, ToolMissingError
from bilayer.runtime.files.reading import size_of
from bilayer.runtime.process.subprocesses import last_line

QUICK = 30.0  # seconds for what takes milliseconds; starting adb's server takes some
SLOWEST_LINK = 1 << 20  # bytes a second: USB 2 has 30 times that
_FULL = "No space left on device"
# What adb says when the device is not there, or no longer
_LOST = re.compile(
    r"device '.*' not found|device offline|no devices|no device|error: closed|protocol fault|connection reset"
    r"|failed to read copy response|device still (?:authorizing|connecting)|device unauthorized|Broken pipe"
    r"|connect failed: closed|EOF",
    re.IGNORECASE,
)
_ADVICE = {
    "unauthorized": "unlock it and allow USB debugging",
    "offline": "plug it in again, or run adb kill-server",
    "no permissions": "add a udev rule for it: developer.android.com/studio/run/device",
    "authorizing": "it is asking its owner: unlock it, allow USB debugging, and run this again",
    "connecting": "it is not ready yet: run this again in a few seconds",
    "recovery": "it is in recovery mode: start Android on it (adb reboot)",
    "rescue": "it is in rescue mode: start Android on it (adb reboot)",
    "sideload": "it waits for an update: start Android on it (adb reboot)",
    "bootloader": "it is in its bootloader: start Android on it (fastboot reboot)",
    "fastboot": "it is in its bootloader: start Android on it (fastboot reboot)",
    "host": "it runs adb's server itself: give a phone's serial with --serial",
    "detached": "another program holds it: adb attach gives it back",
}
_OTHER_STATE = "expected device, its state when Android runs and USB debugging is on; start Android on it"


@dataclass(frozen=True)
class Listed:
    """One device that adb sees: a line of `adb devices -l`."""

    serial: str
    state: str  # "device" is ready
    model: str  # empty where adb does not know it


@dataclass(frozen=True)
class Completed:
    """The exit code of a command on the device and what it printed."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """The last thing that it said, fit for a message."""
        return last_line(f"{self.out}\n{self.err}") or "it printed nothing"


class Adb:
    """The program adb on this machine, which talks to devices."""

    def __init__(self, program: str) -> None:
        self.program = program

    @classmethod
    def find(cls, environment: Mapping[str, str] = os.environ) -> "Adb":
        """Return the program that $ADB names, or `adb` on PATH, or a ToolMissingError where there is none."""
        wanted = environment.get("ADB") or "adb"
        found = shutil.which(wanted, path=environment.get("PATH"))
        if found is None:
            where = "$ADB" if environment.get("ADB") else "PATH"
            raise ToolMissingError(
                f"{wanted}: not found ({where}); install Android's platform-tools (apt install adb), or set $ADB to it"
            )
        return cls(found)

    def call(self, arguments: Sequence[str], timeout: float = QUICK) -> Completed:
        """Run adb once with `arguments`; `timeout` is in seconds.

        Raises:
            ToolMissingError: it cannot be started.
            DeviceError: the time was up.
        """
        try:
            done = subprocess.run(  # noqa: S603  # an argument list, no shell
                [self.program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
            )
        except OSError as error:
            raise ToolMissingError(f"{self.program}: cannot be started: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            what = next((word for word in arguments if word in ("shell", "push", "pull")), arguments[0])
            raise DeviceTimeoutError(
                f"adb {what} did not end within {timeout:.0f} s and was stopped; is the device awake, the cable sound?"
            ) from error
        return Completed(done.returncode, *(text.decode("utf-8", "replace") for text in (done.stdout, done.stderr)))

    def version(self) -> str:
        """Return the version of adb, such as "29.0.6-debian"; "unknown" where it does not say."""
        done = self.call(["version"])
        found = re.search(r"^Version (\S+)", done.out, re.MULTILINE) if done.code == 0 else None
        return found[1] if found else "unknown"

    def devices(self) -> list[Listed]:
        """List the devices that are plugged in, ready or not; a DeviceError where adb's server does not answer."""
        done = self.call(["devices", "-l"])
        if done.code:
            raise DeviceError(f"adb devices: {done.last_line}; run adb kill-server and try again")
        _, head, rest = done.out.partition("List of devices attached")
        if not head:
            found = (done.out.strip().splitlines() or ["nothing"])[0][:80]
            raise DeviceError(f"adb devices: expected a list of devices, found {found}; see that this is Android's adb")
        lines = rest.splitlines()
        return [_listed(line) for line in lines if line.strip() and not line.startswith("*")]

    def choose(self, serial: str | None = None) -> "Device":
        """Return the device of that serial, or the only one.

        Raises:
            DeviceError: none, several and no serial, or one that is not ready; says what to do.
        """
        found = self.devices()
        chosen = [one for one in found if serial is None or one.serial == serial]
        if not chosen:
            have = ", ".join(one.serial for one in found) or "none"
            raise DeviceError(
                f"{'no device' if serial is None else f'--serial {serial}: no such device'} (found: {have}); plug it "
                "in and turn on USB debugging in its developer options"
            )
        if len(chosen) > 1:
            have = ", ".join(f"{one.serial} ({one.model or one.state})" for one in found)
            raise DeviceError(f"{len(found)} devices: {have}; choose one with --serial")
        (one,) = chosen
        if one.state != "device":
            advice = next((text for state, text in _ADVICE.items() if one.state.startswith(state)), _OTHER_STATE)
            raise DeviceError(f"{one.serial}: {one.state}; {advice}")
        return Device(self, one.serial)


class DeviceTimeoutError(DeviceError):
    """A command on the device took too long."""


class Device:
    """One device that is ready for commands.

    Attributes:
        serial: as adb knows it.
    """

    def __init__(self, adb: Adb, serial: str) -> None:
        self.adb, self.serial = adb, serial

    def shell(self, script: str, timeout: float = QUICK) -> Completed:
        """Run a shell script on the device. What comes from a user goes in by `shlex.quote`, or use `run`.

        Raises:
            DeviceError: the device is gone, or the time is up; not if the script merely fails.
        """
        done = self._call(["shell", "-n", "-T", script], timeout)
        if done.code:
            self._check_there(done)
        return done

    def answer(self, script: str, what: str) -> str:
        """Return what a script prints that cannot fail while the shell works; `what` it tells, for the message.

        Raises:
            DeviceError: the device is gone, the time is up, or the script fails.
        """
        done = self.shell(script)
        if done.code:
            raise DeviceError(
                f"{self.serial}: {what}: the device's shell ended with code {done.code} ({done.last_line}); "
                f"does `adb -s {shlex.quote(self.serial)} shell true` work?"
            )
        return done.out

    def run(self, *words: str, timeout: float = QUICK) -> Completed:
        """Run one program on the device with its arguments, as they are; otherwise as `shell`."""
        return self.shell(shlex.join(words), timeout)

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the device, or raise a DeviceError: it is gone, full, or does not let us write there."""
        timeout = QUICK + size_of(local) / SLOWEST_LINK
        done = self._call(["push", str(local.absolute()), remote], timeout)
        if done.code:
            self._check_there(done)
            self.check_full(done)
            raise DeviceError(f"{self.serial}: {remote}: copying {local.name} failed: {done.last_line}")

    def pull(self, remote: str, local: Path, size: int = 1 << 28) -> None:
        """Copy a file or folder of about `size` bytes here, or raise a DeviceError: the device is gone, or has none."""
        done = self._call(["pull", remote, str(local.absolute())], QUICK + size / SLOWEST_LINK)
        if done.code:
            self._check_there(done)
            raise DeviceError(f"{self.serial}: {remote}: copying it here failed: {done.last_line}")

    def check_full(self, done: Completed) -> None:
        """Raise a DeviceError if what a command printed says that the device is full."""
        if _FULL.lower() in (done.out + done.err).lower():
            raise DeviceError(
                f"{self.serial}: no space left on the device; free some and run the same command again: "
                "what is already there is kept"
            )

    def _call(self, arguments: Sequence[str], timeout: float) -> Completed:
        return self.adb.call(["-s", self.serial, *arguments], timeout)

    def _check_there(self, done: Completed) -> None:
        """Raise a DeviceError if the command failed because the device is gone."""
        try:
            state = self._call(["get-state"], QUICK)
            there = state.code == 0 and state.out.strip() == "device"
        except DeviceTimeoutError:
            there = False
        if there and not _LOST.search(done.err):
            return
        raise DeviceError(
            f"{self.serial}: the device is gone ({done.last_line}); plug it in and run the same command again: "
            "it goes on where it stopped"
        )


def _listed(line: str) -> Listed:
    """A line such as `0123 device usb:1-2 product:a model:Pixel_4 transport_id:1`."""
    serial, _, rest = line.strip().partition(" ")
    if "\t" in serial:
        serial, _, rest = line.strip().partition("\t")
    model = re.search(r"\bmodel:(\S+)", rest)
    state = rest.strip()
    state = "no permissions" if state.startswith("no permissions") else state.split()[0] if state else "unknown"
    return Listed(serial, state, model[1].replace("_", " ") if model else "")
