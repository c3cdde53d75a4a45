"""`bilayer-web`: an avatar in a browser, served to this machine, or as a folder for any host."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from bilayer.runtime.command.console import Command, as_json_option, show, table, tell
from bilayer.runtime.command.options import Option, fills, refuse_typed
from bilayer.runtime.files.places import check_outside
from bilayer.runtime.files.shell import pasted

if TYPE_CHECKING:
    from bilayer.runtime.bundle import Bundle


@dataclass(frozen=True)
class WebOptions:
    """What is shown, and where."""

    bundle: Annotated[Path | None, Option(argument=True)] = None
    out: Annotated[Path | None, Option("Write the page to this folder instead of serving it.", ("-o",))] = None
    port: Annotated[int, Option("To serve on; 0 takes a free one.", at_least=0, at_most=65535)] = 8000
    host: Annotated[str, Option("Address to serve on; 0.0.0.0 is every network this machine is in.")] = "127.0.0.1"
    runtime: Annotated[
        Path | None,
        Option("Folder with the files of what computes (wasm or dist of its npm package).", default="the cache"),
    ] = None
    webgpu: Annotated[bool, Option("By ONNX Runtime, with its build for graphics processors as well.")] = False
    browse: Annotated[bool, Option("Open it in this machine's browser.", ("--open",))] = False


@click.command(cls=Command)
@fills(WebOptions)
@as_json_option
def main(options: WebOptions, as_json: bool) -> None:
    """Show the avatar BUNDLE in a browser: it follows the camera, a video, or the built-in motion.

    Everything is computed by the browser, and nothing is uploaded. Without BUNDLE the page waits for one to be dropped.
    Ctrl-C ends. What computes in a browser is wanted once: python -m bilayer.runtime.web.engines
    """
    from bilayer.runtime.bundle import read_bundle
    from bilayer.runtime.web.server import open_server
    from bilayer.runtime.web.site import check_site_folder, make_site

    if options.out is not None:
        refuse_typed("--out writes the page and serves nothing", ["port", "host", "browse"])
        check_site_folder(options.out)
    bundle = None if options.bundle is None else read_bundle(options.bundle)
    if options.out is not None:
        check_outside(options.out, [] if bundle is None else bundle.paths)
        parts = write_page(bundle, options.out, options.runtime, options.webgpu)
        report = {"out": str(options.out), "bytes": parts}
        show(report, lambda: describe_parts(parts), as_json, serve_command(options.out))
        return
    site = make_site(bundle, options.runtime, options.webgpu)
    for note in site.notes:
        tell("note", note)
    with open_server(site, options.host, options.port) as server:
        name = f"[{options.host}]" if ":" in options.host else options.host.replace("127.0.0.1", "localhost")
        address = f"http://{name}:{server.server_address[1]}/"
        show({"address": address, "bytes": site.parts}, lambda: address, as_json)
        sys.stdout.flush()
        if options.browse:
            click.launch(address)
        server.serve_forever()


def write_page(
    bundle: "Bundle | None", folder: Path, runtime: Path | None = None, webgpu: bool = False
) -> dict[str, int]:
    """Write the page of an avatar to a folder, and return the bytes of its parts; what is to be said goes to stderr.

    Raises:
        OutputError: the folder holds something else, or cannot be written.
        ToolMissingError: what computes in a browser is not set up.
    """
    from bilayer.runtime.web.site import make_site, write_site

    site = make_site(bundle, runtime, webgpu)
    write_site(site, folder)
    for note in site.notes:
        tell("note", note)
    return site.parts


def describe_parts(parts: dict[str, int]) -> str:
    """Return a table of the parts' sizes."""
    rows = [(part, f"{size / 1e6:.2f}") for part, size in {**parts, "all": sum(parts.values())}.items()]
    return table(["part", "MB"], rows)


def serve_command(folder: Path) -> str:
    """Return what shows a written page on this machine."""
    return f"python -m http.server --bind 127.0.0.1 --directory {pasted(folder)}"
