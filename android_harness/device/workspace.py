"""The one folder on the device that is ours: files go there by checksum, and come to be removed from there alone."""

import hashlib
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bilayer.android_harness.device.adb import QUICK, Device
from bilayer.runtime.errors import DeviceError, InputError
from bilayer.runtime.files.reading import FileKind, open_file, size_of

ROOT = "/data/local/tmp/bilayer"  # where the shell's user may write and execute
OUT = "out"  # in it, a program's results
HASH_RATE = 50 << 20  # bytes a second at the least, of sha256sum on a phone
_SPARE = 8 << 20  # bytes that stay free


@dataclass(frozen=True)
class Synced:
    """The names of the files that a `sync` has pushed, found unchanged, and removed."""

    pushed: tuple[str, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]


class Workspace:
    """The folder of this harness on one device."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def shell(self, script: str, timeout: float = QUICK) -> tuple[int, str]:
        """Run a script in the folder: its exit code and what it printed, errors included."""
        done = self.device.shell(f"cd {ROOT} && {{ {script}\n}}", timeout)
        return done.code, done.out + done.err

    def sync(
        self, files: Mapping[str, Path], space: int = 0, advance: Callable[[str], None] = lambda name: None
    ) -> Synced:
        """Make the folder hold exactly these files; those whose SHA-256 is the same already stay untouched.

        A file is pushed beside its place, checked and moved there, so that whatever lies in its place is whole. After
        an interruption the next call goes on.

        Args:
            files: by their names in the folder, which may have folders in them.
            space: bytes that the device must have free when all is there.
            advance: called with the name of each file that is pushed, when it is there.

        Raises:
            InputError: a name that does not stay in the folder, or that a shell's tools would garble.
            DeviceError: the device is gone or full, or a file arrives damaged.
        """
        for name in files:
            _check_name(name)
        wanted = {name: _digest(path) for name, path in files.items()}
        present = self.digests()
        folders = sorted({str(PurePosixPath(name).parent) for name in wanted})
        self._done(f"mkdir -p {shlex.join(f'{ROOT}/{folder}' for folder in folders) if folders else ROOT}", "mkdir")
        stale = sorted(set(present) - set(wanted))
        for start in range(0, len(stale), 50):  # a shell's line has an end
            names = shlex.join(f"./{name}" for name in stale[start : start + 50])
            self._done(f"cd {ROOT} && rm -f {names}", "rm")
        missing = [name for name, digest in wanted.items() if present.get(name) != digest]
        self._check_space(sum(size_of(files[name]) for name in missing) + space)
        for name in missing:
            self._push(files[name], name, wanted[name])
            advance(name)
        return Synced(tuple(missing), tuple(name for name in wanted if name not in missing), tuple(stale))

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file in the folder by name; a DeviceError without sha256sum (before Android 8)."""
        script = f"[ -d {ROOT} ] || exit 0; cd {ROOT} && find . -type f -exec sha256sum {{}} +"
        done = self.device.shell(script, QUICK + (4 << 30) / HASH_RATE)
        if done.code:
            raise DeviceError(
                f"{self.device.serial}: {ROOT}: cannot be read: {done.last_line}; Android 8 or later is needed"
            )
        lines = (line.partition("  ") for line in done.out.splitlines())
        return {name.removeprefix("./"): digest for digest, _, name in lines if name}

    def clean(self, *names: str) -> None:
        """Remove the folder, or only what is named in it."""
        for name in names:
            _check_name(name)
        targets = [f"{ROOT}/{name}" for name in names] or [ROOT]
        self._done(f"rm -rf {shlex.join(targets)}", "rm")

    def _push(self, path: Path, name: str, digest: str) -> None:
        part, place = f"{ROOT}/{name}.part", f"{ROOT}/{name}"
        try:
            self.device.push(path, part)
        except DeviceError:
            self._forget(part)
            raise
        quoted, target = shlex.quote(part), shlex.quote(place)
        mode = "755" if name.startswith("bin/") else "644"
        script = f"sha256sum {quoted} && chmod {mode} {quoted} && mv -f {quoted} {target}"
        done = self.device.shell(script, QUICK + size_of(path) / HASH_RATE)
        if done.code or not done.out.startswith(digest):
            self._forget(part)
            self.device.check_full(done)
            raise DeviceError(
                f"{self.device.serial}: {place}: did not arrive whole ({done.last_line}); run the same command again"
            )

    def _forget(self, part: str) -> None:
        """Remove half a file, if the device is still there; the next `sync` does otherwise."""
        try:
            self.device.run("rm", "-f", part)
        except DeviceError:
            return

    def _check_space(self, needed: int) -> None:
        done = self.device.run("df", "-k", ROOT)
        words = done.out.splitlines()[-1].split() if done.code == 0 and done.out.strip() else []
        if len(words) < 4 or not re.fullmatch(r"\d{1,15}", words[3]):
            return  # an unusual df: a full disk is seen later
        free = int(words[3]) << 10
        if free < needed + _SPARE:
            raise DeviceError(
                f"{self.device.serial}: {needed / 1e6:.0f} MB needed on the device, no space left for them "
                f"({free / 1e6:.0f} MB free); free some and run the same command again"
            )

    def _done(self, script: str, what: str) -> None:
        done = self.device.shell(script)
        if done.code:
            self.device.check_full(done)
            raise DeviceError(f"{self.device.serial}: {ROOT}: {what} failed: {done.last_line}")


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or not name.isprintable():
        raise InputError(f"{name!r}: expected a file name that stays in the device's folder; rename the file")


def _digest(path: Path) -> str:
    with open_file(path, FileKind.PROGRAM) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
