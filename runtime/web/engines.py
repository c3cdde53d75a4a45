"""What computes in a browser, LiteRT.js and ONNX Runtime Web: fetched once from the npm registry, checked on every use.

The page computes with them; they are no part of this package, being 29 and 14 MB large:

    python -m bilayer.runtime.web.engines                            # both, once, from the registry npm is set up for
    python -m bilayer.runtime.web.engines litert --package FILE.tgz  # one, from its archive that is already here
"""

import gzip
from functools import partial
from pathlib import Path
from shutil import which
from typing import Literal

import click

from bilayer.runtime.command.console import Command
from bilayer.runtime.command.options import PathAlone
from bilayer.runtime.files.released import Release, ReleasedFile

WebEngine = Literal["litert", "ort"]
_COMMAND = "python -m bilayer.runtime.web.engines"
_PACKED = 6  # level of gzip: 0.5 s for 9 MB; the highest takes twice as long for 0.3 % less


def _release(engine: WebEngine, what: str, package: str, megabytes: int, files: dict[str, tuple[int, str]]) -> Release:
    folder = package.removeprefix("@").replace("/", "-").replace("@", "-")
    return Release(
        what=f"{what} is",
        source=package,
        archive=f"the archive of {package}",
        suffix=".tgz",
        files=tuple(ReleasedFile(f"package/{member}", *known, folder) for member, known in files.items()),
        command=f"{_COMMAND} {engine}",
        option="--package",
        megabytes=megabytes,
        tool="npm",
        words=f"pack {package}",
    )


# A build for browsers with relaxed SIMD and threads, one for those without threads, one for all others
LITERT = _release(
    "litert",
    "LiteRT for browsers",
    "@litertjs/core@2.5.3",  # web/package.json asks for the same: its loader is built into the page
    12,
    {
        "wasm/litert_wasm_threaded_internal.js": (
            317_475,
            "92fe7a720c6deedaa1194c011c79a005ea4f6fc98f533b661cf7900760ab4849",
        ),
        "wasm/litert_wasm_threaded_internal.wasm": (
            9_445_834,
            "b5e54eca10f043497edf9a02186332707cae260c550d7ea22b2cae55669596cf",
        ),
        "wasm/litert_wasm_internal.js": (
            273_035,
            "68efb69f770e3f76aff36a377de629ca496c131b86ac0f0f4b592a1543a898eb",
        ),
        "wasm/litert_wasm_internal.wasm": (
            9_367_934,
            "7280cf4471774867e385e6c3cd53e2b45e2975b80fea338fff4ef359b0865614",
        ),
        "wasm/litert_wasm_compat_internal.js": (
            273_246,
            "4d8f894b7883654fd6e8439730aa41e79ceaab7d19184fc4f1f0b0f1a2a2c8a5",
        ),
        "wasm/litert_wasm_compat_internal.wasm": (
            9_334_181,
            "5255c8ad06eabdbd2522cdebf6b22fc10faf74625c23a49b9e072570cd1fa41c",
        ),
    },
)
ORT = _release(
    "ort",
    "ONNX Runtime for browsers",
    "onnxruntime-web@1.30.0",
    33,
    {
        "dist/ort.wasm.bundle.min.mjs": (
            73_054,
            "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
        ),
        "dist/ort-wasm-simd-threaded.wasm": (
            14_239_897,
            "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
        ),
        # For browsers with a graphics processor and WebAssembly's JSPI
        "dist/ort.jspi.bundle.min.mjs": (
            115_872,
            "07ec090355e11b342c95436db54da2d0c2bd5b1d319745bfd3337e6bdcf170ac",
        ),
        "dist/ort-wasm-simd-threaded.jspi.wasm": (
            16_758_545,
            "a54c76f86b0f0d9572380cf1c6292a7b3903716ffcbcd6b0e5c7050bf430eb93",
        ),
    },
)
RELEASES: dict[WebEngine, Release] = {"litert": LITERT, "ort": ORT}
FOLDERS: dict[WebEngine, str] = {"litert": "wasm", "ort": "dist"}  # of the package


def engine_files(engine: WebEngine, folder: Path | None = None, webgpu: bool = False) -> dict[str, bytes]:
    """Return the files of an engine by name, as the page wants them: WebAssembly packed by gzip, a third of its size.

    Args:
        engine: which.
        folder: where they lie, such as node_modules/onnxruntime-web/dist; None: the cache.
        webgpu: whether with ONNX Runtime's build for graphics processors.

    Raises:
        ToolMissingError: one is not there, or not what was released; the message names the command that fetches it.
    """
    files = _released(engine, folder, webgpu)
    packed = {name: gzip.compress(content, _PACKED, mtime=0) for name, content in files.items() if _is_wasm(name)}
    scripts = {name: content for name, content in files.items() if not _is_wasm(name)}
    return scripts | {f"{name}.gz": content for name, content in packed.items()}


def check_engines() -> None:
    """Raise a ToolMissingError that names the command which fetches it, unless all that a page needs is set up."""
    for engine in RELEASES:
        _released(engine)


def _released(engine: WebEngine, folder: Path | None = None, webgpu: bool = False) -> dict[str, bytes]:
    release = RELEASES[engine]
    elsewhere = f"the folder {FOLDERS[engine]} of {release.source}"
    wanted = [file for file in release.files if webgpu or ".jspi." not in file.name]
    return {file.name: release.load(file, folder, elsewhere) for file in wanted}


def _is_wasm(name: str) -> bool:
    return name.endswith(".wasm")


# By hand, of no dataclass: a step of the set-up, not one of the commands
@click.command(cls=Command)
@click.argument("engine", type=click.Choice(["litert", "ort"]), required=False)
@click.option(
    "--package",
    type=PathAlone(),
    help="Take the files of ENGINE out of this archive of its npm package instead of fetching it.",
)
def main(engine: WebEngine | None, package: Path | None) -> None:
    """Set up what computes in a browser, ENGINE or both: fetch it once, verify it, keep it in the cache.

    Files that are already there are left alone. The folder is $BILAYER_CACHE, or this user's cache folder.
    """
    if package is not None and engine is None:
        raise click.UsageError("--package is the archive of one engine; name it: litert or ort")
    for one in [engine] if engine else RELEASES:
        RELEASES[one].set_up(package, partial(_fetch, RELEASES[one]))


def _fetch(release: Release) -> None:
    npm = which("npm")
    release.fetch(None if npm is None else [npm], ["--silent"], "--pack-destination")


if __name__ == "__main__":
    main()
