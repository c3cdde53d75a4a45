"""What a process of the service does: keep a checkpoint, and make a photo's avatar a zip."""

import functools
import resource
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from bilayer.export.allocator import keep_freed_memory
from bilayer.export.options import ExportOptions
from bilayer.runtime.command.heard import heard_warnings
from bilayer.runtime.errors import (
    BilayerError,
    CheckpointError,
    ConversionError,
    LandmarkError,
    OutputError,
    ToolMissingError,
)
from bilayer.runtime.files.reading import FileKind, list_folder, read_bytes
from bilayer.runtime.files.zips import zip_bytes
from bilayer.runtime.jobs.processes import ended_in_order, start_worker

if TYPE_CHECKING:
    from bilayer.export.pipeline import Trained

PHOTO = "photo"  # a request's picture is called so in its folder, and in messages
_COMMENT = 65535  # bytes of a zip's comment at most
_OURS = (CheckpointError, ConversionError, ToolMissingError)  # no other photo would help


@dataclass(frozen=True)
class Made:
    """An avatar's zip, and how it was made."""

    content: bytes
    seconds: dict[str, float]  # by stage


@dataclass(frozen=True)
class Refused:
    """Why there is no avatar, in the words of the command, without a path of this machine."""

    status: int  # of HTTP
    field: str  # of the request
    message: str


def begin(end: "Connection[None, None]", memory: int, checkpoint: str) -> None:
    """Make this process a worker: it ends with its owner, holds at most `memory` bytes, and has the checkpoint."""
    start_worker(end)
    keep_freed_memory()
    with suppress(ValueError, OSError):  # not every system has it, or lets it be set
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold a face
    with suppress(BilayerError):  # told by `describe`
        _trained(checkpoint)


def describe(checkpoint: str) -> tuple[str, ...]:
    """Return what makes all avatars of this process: checkpoint, packages, usual target; errors are `load_model`'s."""
    from bilayer.export.convert.tools import default_target
    from bilayer.export.pipeline import package_versions

    versions = (f"{name} {number}" for name, number in package_versions().items())
    return (_trained(checkpoint).digest, default_target(), *versions)


def make_avatar(options: ExportOptions) -> Made | Refused:
    """Return the avatar of a photo in a folder of its own, as a zip; or why there is none.

    Raises:
        OutputError, OSError: the folder cannot be written to, which is no matter of the photo's.
    """
    from bilayer.export.pipeline import Stopwatch, export_avatar

    folder, watch = Path(options.photo).parent, Stopwatch()
    try:
        with ended_in_order(), tempfile.TemporaryDirectory(dir=folder) as out:
            placed = replace(options, out=Path(out, "avatar.dlc"))
            with heard_warnings() as heard:
                export = export_avatar(placed, watch, trained=_trained(str(options.checkpoint)))
            content = pack(Path(out), [text.replace(f"{folder}/", "") for text in (*heard, *export.warnings)])
    except OutputError:  # in words of files that the client does not see
        raise
    except BilayerError as error:
        status = 503 if isinstance(error, _OURS) else 422
        field = "landmarks" if isinstance(error, LandmarkError) and options.landmarks else PHOTO
        return Refused(status, field, str(error).replace(f"{folder}/", ""))
    except MemoryError:
        return _too_much()
    except Exception as error:
        if "alloc" in str(error).lower() or "insufficient memory" in str(error).lower():  # torch, OpenCV, ONNX Runtime
            return _too_much()
        raise
    return Made(content, watch.seconds)


def pack(folder: Path, warnings: Sequence[str] = ()) -> bytes:
    """Return the files of a folder as a zip, not compressed (weights hardly would be): the same files, the same bytes.

    The zip's comment is what there is to warn of, a line each.
    """
    files = ((path.name, read_bytes(path, FileKind.ANY, most=1 << 31)) for path in sorted(list_folder(folder)))
    return zip_bytes(files, "\n".join(warnings).encode()[:_COMMENT])


def _too_much() -> Refused:
    return Refused(422, PHOTO, "photo: needs more memory than the service gives to one; scale it down")


@functools.lru_cache(maxsize=1)  # a process keeps its model
def _trained(checkpoint: str) -> "Trained":
    from bilayer.export.convert.host import PackageHost
    from bilayer.export.pipeline import load_trained

    return replace(load_trained(ExportOptions("", checkpoint=checkpoint)), host=PackageHost())
