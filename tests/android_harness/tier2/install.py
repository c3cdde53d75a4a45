"""Downloads what the emulated test phone is made of, from Debian: adbd, and Android's shell and tools for 64-bit ARM.

    python tests/android_harness/tier2/install.py

Needs apt, dpkg-deb and tar, but no root: apt keeps its lists in the cache folder beside the result, and nothing of the
machine's own is changed. 100 MB to fetch from the mirror that apt is set up with, or $DEBIAN_MIRROR; 60 MB kept, in
$XDG_CACHE_HOME/bilayer/test-phone, ~/.cache without it.
adbd is in bookworm-backports. It listens without authentication: phone.py starts it in a network of its own only.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PACKAGES = ("adbd", "mksh:arm64", "toybox:arm64", "qemu-user-static/bookworm")
QEMU = "usr/bin/qemu-aarch64-static"
SETTINGS = """Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Architecture "amd64";
APT::Architectures "amd64,arm64";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
Debug::NoLocking "true";
"""
SUITES = ("bookworm", "bookworm-backports")


def place() -> Path:
    """Where the phone's system lies, or is to lie."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "bilayer" / "test-phone"


def missing() -> str | None:
    """Why there is no system yet, or None."""
    return None if (place() / QEMU).is_file() else "run python tests/android_harness/tier2/install.py"


def install(target: Path) -> None:
    """Fetch the packages and unpack them to `target`, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder, system = Path(name), Path(name) / "system"
        archives = _download(folder)
        _unpack(archives, system)
        shutil.rmtree(target, ignore_errors=True)
        system.rename(target)


def _mirror() -> str:
    """$DEBIAN_MIRROR, else where apt on this machine gets Debian's packages from; main's, not the security updates'."""
    named = os.environ.get("DEBIAN_MIRROR")
    if named:
        return named
    query = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    listed = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    places = [place.rstrip("/") for place in listed if "security" not in place]
    if not places:
        raise OSError("apt knows no mirror of Debian: run apt-get update, or set $DEBIAN_MIRROR")
    return places[0]


def _download(folder: Path) -> list[Path]:
    for place in ("state/lists/partial", "cache/archives/partial"):
        (folder / place).mkdir(parents=True)
    (folder / "status").touch()  # as if nothing were installed: all dependencies are wanted
    mirror = _mirror()
    sources = "".join(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n" for suite in SUITES)
    (folder / "sources.list").write_text(sources)
    (folder / "apt.conf").write_text(SETTINGS.format(folder=folder))
    environment = os.environ | {"APT_CONFIG": str(folder / "apt.conf")}
    for command in (
        ["update"],
        ["install", "--yes", "--download-only", "--target-release=bookworm-backports", *PACKAGES],
    ):
        subprocess.run(["apt-get", "-qq", *command], env=environment, check=True)
    return sorted((folder / "cache/archives").glob("*.deb"))


def _unpack(archives: list[Path], system: Path) -> None:
    """All packages into one tree, without documentation and without the other emulators."""
    for name in ("bin", "lib", "lib64", "sbin"):
        (system / "usr" / name).mkdir(parents=True)
        (system / name).symlink_to(f"usr/{name}")
    for archive in archives:
        only = [f"./{QEMU}"] if archive.name.startswith("qemu") else []
        unpack = [
            "tar",
            "-x",
            "-C",
            system,
            "--keep-directory-symlink",
            "--no-same-owner",
            "--exclude=./usr/share",
            *only,
        ]
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as contents:
            subprocess.run(unpack, stdin=contents.stdout, check=True)
        if contents.returncode:
            raise subprocess.CalledProcessError(contents.returncode, contents.args)


def main() -> None:
    lacking = [tool for tool in ("apt-get", "dpkg-deb", "tar") if shutil.which(tool) is None]
    if lacking:
        sys.exit(f"not installed: {', '.join(lacking)}; the tests with the emulated phone stay skipped")
    if "--force" in sys.argv[1:] or missing():
        try:
            install(place())
        except (subprocess.CalledProcessError, OSError) as error:
            sys.exit(f"{error}; the tests with the emulated phone stay skipped")
    print(f"the emulated phone's system is in {place()}")


if __name__ == "__main__":
    main()
