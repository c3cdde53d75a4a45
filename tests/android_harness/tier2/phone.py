"""The emulated test phone: Debian's adbd, and Android's shell and tools for 64-bit ARM under qemu, in namespaces.

    python -m tests.android_harness.tier2.phone FOLDER    # until Ctrl-C; prints what to set for bilayer-device

Its network is a namespace with nothing but loopback, since its adbd asks nobody who he is. `adb` reaches it by a
script that enters there; with $ADB set to that every other program runs as usual. Data stay in FOLDER/root/data.

A first process holds the network and, as its first process, everything in it: when it ends, all of that does. adbd has
namespaces of its own below it, so that the phone can be cut off from an adb server that stays.
"""

import contextlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.android_harness.tier2 import install

INIT = Path(__file__).parent / "init.py"
PORT = 6001  # in its own network; adb looks for emulators from 5555 on
REGISTERED = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")  # by the machine's administrator
# With user namespaces nothing needs root, and ARM programs are registered for the phone alone
HOLD = {"user": "-Urnp", "root": "-np"}
ENTER = {"user": ["--user", "--preserve-credentials", "--net"], "root": ["--net"]}


def namespaces() -> str | None:
    """How they are to be had here: "user", else "root", else None."""
    probe = "mount -t proc proc /proc && mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc"
    if _works("unshare", "-Urmnp", "--fork", "sh", "-c", probe):
        return "user"
    registered = REGISTERED.is_file() and any(line.startswith("flags") and "F" in line for line in _lines(REGISTERED))
    return (
        "root" if registered and _works("unshare", "-mnp", "--fork", "mount", "-t", "proc", "proc", "/proc") else None
    )


def missing() -> str | None:
    """Why no such phone can be started here, or None."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the emulated phone's packages are for Linux on x86-64"
    lacking = [tool for tool in ("unshare", "nsenter", "mount", "adb") if shutil.which(tool) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)}"
    reason = install.missing()
    if reason is None and namespaces() is None:
        reason = "user namespaces with binfmt_misc (Linux 6.7), or root's, are not to be had here"
    return reason


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _works(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


class EmulatedPhone:
    """Starts with its files, by path on it: text, or the target of a link; stops in `close`.

    Args:
        folder: for its root and all that belongs to it.
        files: such as {"sys/class/thermal/...": "38500"}; those in system/bin become executable.
        data_mb: makes /data a disk of that size in memory, which ends with it.
    """

    def __init__(self, folder: Path, files: dict[str, str], data_mb: int | None = None) -> None:
        kind = namespaces()
        assert kind is not None, missing()
        self.adb = folder / "adb"  # what $ADB is to be
        self.serial = f"127.0.0.1:{PORT}"
        self._kind, self._folder, self._root, self._data_mb = kind, folder, folder / "root", data_mb
        self._phone: subprocess.Popen[bytes] | None = None
        self._make_system()
        for name, text in files.items():
            path = self._root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
            path.chmod(0o755 if name.startswith("system/bin/") else 0o644)
        hold = ["unshare", HOLD[kind], "--fork", "--kill-child", sys.executable, "-S", str(INIT), "hold"]
        self._holder = subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        self._make_adb()
        self.start()

    def inside(self, path: str) -> Path:
        """A place on it, seen from here."""
        return Path(f"/proc/{self._adbd()}/root") / path.lstrip("/")

    def start(self) -> None:
        """Turn it on."""
        system, megabytes = install.place(), str(self._data_mb or 0)
        become = [sys.executable, "-S", INIT, self._kind, system, self._root, str(PORT), megabytes]
        words = [*self._enter("--pid"), "unshare", "-mp", "--fork", "--kill-child", *become]
        log_path = self._folder / "adbd.log"
        with log_path.open("wb") as log:
            self._phone = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while self._adb("-s", self.serial, "get-state").strip() != "device":
            self._adb("disconnect", self.serial)
            self._adb("connect", self.serial)
            if self._phone.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the emulated phone does not start: {log_path.read_text(errors='replace')}")
            time.sleep(0.02)

    def stop(self) -> None:
        """As if its battery had been taken out; `start` brings it back."""
        assert self._phone is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._adbd(), signal.SIGKILL)  # and with it all that it had started
        self._phone.wait()

    def close(self) -> None:
        """Turn it off, and end everything that belongs to it."""
        self._holder.communicate()  # closes its input
        assert self._phone is not None
        self._phone.wait()

    def _adb(self, *words: str) -> str:
        done = subprocess.run([self.adb, *words], capture_output=True, text=True, check=False, timeout=30)
        return done.stdout + done.stderr

    def _enter(self, *more: str) -> list[str | Path]:
        return ["nsenter", "--target", str(_child(self._holder.pid)), *ENTER[self._kind], *more, "--"]

    def _adbd(self) -> int:
        assert self._phone is not None
        return _child(_child(self._phone.pid))  # of nsenter and unshare

    def _make_adb(self) -> None:
        """The client's script, and its server, which is to end with the network."""
        place = shlex.quote(str(self._folder))
        client = [*map(str, self._enter()), shutil.which("adb") or "adb"]
        settings = f"HOME={place} TMPDIR={place} ANDROID_ADB_SERVER_PORT=5037"  # in its own network, too
        self.adb.write_text(f'#!/bin/sh\n{settings} exec {shlex.join(client)} "$@"\n')
        self.adb.chmod(0o755)
        server = [*self._enter("--pid"), "env", *shlex.split(settings), client[-1], "start-server"]
        with (self._folder / "adb.log").open("wb") as log:
            subprocess.run(server, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=30)

    def _make_system(self) -> None:
        """/system/bin as on Android: toybox by all its names, and its shell."""
        (self._root / "data/local/tmp").mkdir(parents=True)
        programs = self._root / "system/bin"
        programs.mkdir(parents=True)
        system = install.place()
        toybox = [system / install.QEMU, "-L", system, system / "usr/bin/toybox"]
        names = subprocess.run(toybox, capture_output=True, text=True, check=True).stdout.split()
        for name, target in {**dict.fromkeys(names, "toybox"), "sh": "mksh"}.items():
            (programs / name).symlink_to(f"/usr/bin/{target}")


def _child(pid: int) -> int:
    """The only child of a process."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def snapdragon_855(folder: Path, data_mb: int | None = None) -> EmulatedPhone:
    """A phone that tells of itself what one with that chip does: its properties, clocks, sensors and battery."""
    from tests.android_harness.conftest import DUMPSYS, FILES, PROPERTIES

    properties = "".join(f"[{name}]: [{value}]\n" for name, value in PROPERTIES.items())
    scripts = {"getprop": f"#!/bin/sh\ncat <<'EOF'\n{properties}EOF", "dumpsys": DUMPSYS}
    folder.mkdir(exist_ok=True)
    return EmulatedPhone(folder, FILES | {f"system/bin/{name}": text for name, text in scripts.items()}, data_mb)


def main() -> None:
    reason = missing()
    if reason or len(sys.argv) != 2:
        sys.exit(reason or __doc__)
    phone = snapdragon_855(Path(sys.argv[1]).absolute())
    print(f"export ADB={shlex.quote(str(phone.adb))} ANDROID_SERIAL={phone.serial}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
    phone.close()


if __name__ == "__main__":
    main()
