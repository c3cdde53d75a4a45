"""The page's folder: the page, what computes, the face networks and one avatar, each file checked, by address.

page.json tells the page where the others lie: docs/web.md.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from bilayer.runtime.bundle import Bundle
from bilayer.runtime.errors import OutputError, ToolMissingError
from bilayer.runtime.face import model_files
from bilayer.runtime.files.exchange import exchange
from bilayer.runtime.files.reading import FileKind, is_folder, is_there, list_folder, read_bytes
from bilayer.runtime.files.writing import check_output, drafting
from bilayer.runtime.web.engines import engine_files

PAGE = Path(__file__).with_name("page")  # built of web/ by `npm run build`
SCHEMA = PAGE.parents[1] / "avatar.schema.json"
SETTINGS = "page.json"
BESIDE = ("texture", "lids", "preview")  # of an avatar's files, what a browser gets with the network
# Threads share memory only on a page that no other can look into: https://web.dev/articles/coop-coep
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Site:
    """All files of a page, by their address from its folder, and what is to be said of it."""

    files: Mapping[str, bytes]
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, int]:
        """The bytes of each part: the page, the runtime, the face networks, the avatar's own."""
        names = {"ort": "runtime", "litert": "runtime", "face": "face networks", "avatar": "avatar"}
        sizes = dict.fromkeys(("page", *names.values()), 0)
        for address, content in self.files.items():
            folder, inside, _ = address.partition("/")
            sizes[names[folder] if inside else "page"] += len(content)
        return sizes


def make_site(bundle: Bundle | None, runtime: Path | None = None, webgpu: bool = False) -> Site:
    """Return the page with an avatar, or with none, to drop one into.

    Args:
        bundle: the avatar's; of its networks the one goes along that `network_of` names.
        runtime: a folder with the files of what computes it; None: the cache.
        webgpu: whether ONNX Runtime's build for graphics processors is to be there too.

    Raises:
        ToolMissingError: what computes the network in a browser is not set up.
        BundleError: a file of the avatar cannot be read.
    """
    from bilayer.runtime.player import read_lids, read_texture
    from bilayer.runtime.web.network import network_of  # loads the player, which a command's help need not

    files = {path.name: read_bytes(path, FileKind.ANY) for path in list_folder(PAGE, "*")}
    files[SCHEMA.name] = read_bytes(SCHEMA, FileKind.ANY)  # which the page's module reads contracts by
    engine, network = network_of(bundle, webgpu)
    files |= {f"{engine}/{name}": content for name, content in engine_files(engine, runtime, webgpu).items()}
    notes = []
    face: str | None = "face/"
    try:
        for model in (model_files.FACE_DETECTOR, model_files.FACE_MESH):
            files[f"face/{model.path.name}"] = model_files.load(model)
    except ToolMissingError as error:
        face = None
        notes.append(f"no camera and no video: {error}")
    settings = {
        "avatar": None if bundle is None else "avatar/avatar.json",
        "engine": engine,
        "runtime": f"{engine}/",
        "webgpu": webgpu,
        "face": face,
    }
    if bundle is not None:
        read_lids(bundle, read_texture(bundle))  # which the page does not look at as closely
        contract = bundle.contract
        gone = {field.name for field in fields(contract.files)} - {*BESIDE, network}
        others: dict[str, Any] = dict.fromkeys(gone - {"onnx"})  # which a contract always names; the page passes it by
        kept = replace(contract, files=replace(contract.files, **others), dlc=None)
        for role in (*BESIDE, network):
            if (file := getattr(contract.files, role)) is not None:
                files[f"avatar/{file.name}"] = read_bytes(bundle.path(file), FileKind.ONNX)
        files["avatar/avatar.json"] = kept.to_json().encode()
    # Hosts that read such a file (Netlify, Cloudflare Pages) send these; on others the network has one thread
    files["_headers"] = "\n".join(["/*", *(f"  {name}: {value}" for name, value in ISOLATION.items()), ""]).encode()
    files[SETTINGS] = (json.dumps(settings, indent=2, allow_nan=False) + "\n").encode()
    return Site(files, tuple(notes))


def check_site_folder(folder: Path) -> None:
    """See that a site may be written there: nothing is there, an empty folder, or one that holds a site.

    Raises:
        OutputError: something else is, or it cannot be written to.
    """
    if is_there(folder) and not is_folder(folder):
        raise OutputError(f"{folder}: is a file; name a folder for the page")
    check_output(folder / SETTINGS)
    if is_folder(folder) and list_folder(folder, "*") and not is_there(folder / SETTINGS):
        raise OutputError(f"{folder}: holds other files; name a new folder, or one that a page was written to")


def write_site(site: Site, folder: Path) -> None:
    """Write the files to a folder, whole: what a page before left there goes.

    Raises:
        OutputError: the folder holds something else, or cannot be written.
    """
    check_site_folder(folder)
    target = folder.absolute()
    with drafting(target) as draft:
        part = draft / "new"
        for address, content in site.files.items():
            path = part / address
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        exchange(part, target)
