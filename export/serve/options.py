"""What the service may be told, and what one photo's request may ask for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from bilayer.export.options import ConversionTarget, ExportPrecision
from bilayer.model.config import DEMO_CHECKPOINT
from bilayer.runtime.command.options import Option
from bilayer.runtime.files.reading import StrPath
from bilayer.runtime.vocabulary import Refine


@dataclass(frozen=True)
class ServeOptions:
    """Where the service listens, what it makes avatars by, and its limits; `bilayer-serve`'s options come from it."""

    host: Annotated[str, Option("Address to serve on; any but loopback wants a token.")] = "127.0.0.1"
    port: Annotated[int, Option("To serve on; 0 takes a free one.", at_least=0, at_most=65535)] = 8000
    token_file: Annotated[
        Path | None, Option("File with the token that requests must bear.", default="$BILAYER_TOKEN")
    ] = None
    checkpoint: Annotated[
        StrPath, Option("A .safetensors, or the authors' runs folder.", default="the demo weights")
    ] = DEMO_CHECKPOINT
    target: Annotated[ConversionTarget | None, Option("What converts; auto: what is set up.", none="auto")] = None
    workers: Annotated[int, Option("Processes that make avatars.", at_least=1, at_most=256)] = 1
    queue: Annotated[int, Option("Photos that may wait for a process; more are told 429.", at_least=0)] = 8
    body: Annotated[int, Option("Largest request, MiB; a larger one is told 413.", at_least=1, at_most=1024)] = 32
    read_seconds: Annotated[float, Option("A request must have come by then, s; else 408.", at_least=0.1)] = 20.0
    seconds: Annotated[float, Option("For one avatar, s; then its process is killed, and 504 told.", at_least=0.1)] = (
        60.0
    )
    memory: Annotated[
        int, Option("Most that a process may hold, MiB, where the system can limit it.", at_least=512)
    ] = 6144
    cache: Annotated[Path | None, Option("Folder of avatars made before.", default="in the user's cache")] = None
    cache_size: Annotated[int, Option("Most that the folder may hold, MiB; 0: keep nothing.", at_least=0)] = 1024


@dataclass(frozen=True)
class Wanted:
    """What a request may ask of its avatar, in the query or as fields of the form; as `bilayer-export`'s options."""

    face: Annotated[int, Meta(ge=1, le=1000, description="Which face, from the largest.")] | None = None
    rotate: Annotated[Literal[0, 90, 180, 270], Meta(description="Degrees to turn the photo clockwise.")] = 0
    mask: Annotated[bool, Meta(description="Cut the person out, or keep the background.")] = True
    refine: Annotated[Refine, Meta(description="How the texture is made.")] = "fit"
    size: Annotated[int, Meta(ge=16, le=1024, description="Side of frame and texture, px.")] | None = None
    precision: Annotated[ExportPrecision, Meta(description="Of the .dlc.")] = "fp32"
