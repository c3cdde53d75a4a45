"""`bilayer-sampler`: the texture sampler for other processors, and a check of this one."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import click

from bilayer.runtime.command.console import Group, as_json_option, progress, show, table
from bilayer.runtime.command.options import Option, fills
from bilayer.runtime.errors import ParityError
from bilayer.runtime.files.reading import size_of
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.sampler.build import EXAMPLE, OBJECT, STEPS, TARGETS, Architecture, build


@click.group(cls=Group)
def main() -> None:
    """The texture sampler that SNPE lacks: build it for a phone, check it here."""


@dataclass(frozen=True)
class BuildOptions:
    """What the sampler is built for, and where to."""

    arch: Annotated[Architecture, Option("Processor and system to build for.", former="--target")]
    out: Annotated[
        Path | None, Option("Folder for the files, made if need be.", ("-o",), default="bilayer-sampler-ARCH")
    ] = None


@main.command("build")
@fills(BuildOptions)
@as_json_option
def build_command(options: BuildOptions, as_json: bool) -> None:
    """Write the sampler as an object file, with its C header and a C++17 example.

    The object needs no library and gives the Python package's results to the bit. Numba compiles it, and neither an SDK
    nor a compiler is needed; to link the example, take the compiler of the command that is printed.
    """
    arch, folder = options.arch, options.out or Path(f"bilayer-sampler-{options.arch}")
    with progress(f"compiling for {arch}", STEPS) as advance:
        written = build(arch, folder, advance)
    inputs = f"{pasted(folder / EXAMPLE)} {pasted(folder / OBJECT)}"
    link = f"{TARGETS[arch].compiler} -std=c++17 -O2 {inputs} -o {pasted(folder / 'example')}"
    report = {"arch": arch, "out": str(folder), "files": [str(path) for path in written], "link": link}
    rows = table(["file", "bytes"], [(path, size_of(path)) for path in written])
    show(report, lambda: rows, as_json, link)


@main.command("check")
@as_json_option
def check_command(as_json: bool) -> None:
    """Compile the kernels or read their cache, and compare them with the numpy fallback to the bit.

    Exits with 4 if they differ, with 5 if Numba is missing.
    """
    import numpy as np

    from bilayer.runtime.sampler.compositor import FrameCompositor

    rng = np.random.default_rng(0)
    texture, low = (rng.uniform(-1, 1, (3, 256, 256)).astype(np.float32) for _ in range(2))
    delta_uv = rng.normal(0, 0.3, (2, 256, 256)).astype(np.float32)
    mask = rng.uniform(0, 1, (256, 256)).astype(np.float32)
    delta_uv[0, 0, :3] = np.nan, np.inf, -np.inf

    begin = time.perf_counter()
    quick = FrameCompositor(texture, align_corners=False, engine="numba")
    ready = time.perf_counter() - begin
    slow = FrameCompositor(texture, align_corners=False, engine="numpy")
    frame = quick.render(delta_uv, low, mask)
    differing = int((frame != slow.render(delta_uv, low, mask)).sum())
    times = []
    for _ in range(50):
        begin = time.thread_time()
        quick.render(delta_uv, low, mask, frame)
        times.append(time.thread_time() - begin)
    report = {
        "kernel_ready_seconds": round(ready, 3),
        "frame_256_ms": round(float(np.median(times)) * 1e3, 3),
        "bytes_unlike_numpy": differing,
    }
    show(report, lambda: table(["", "value"], report.items()), as_json)
    if differing:
        raise ParityError(
            f"numba and numpy differ in {differing} of {frame.size} bytes; run with engine numpy and report this"
        )


if __name__ == "__main__":
    main()
