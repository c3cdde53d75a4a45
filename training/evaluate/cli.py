"""`bilayer-eval`: how good a checkpoint is, or frames of any method."""

from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from bilayer.runtime.command.console import Group, as_json_option, importing, progress, show, suggest
from bilayer.runtime.command.json_text import json_text
from bilayer.runtime.command.options import fills
from bilayer.runtime.files.shell import pasted
from bilayer.runtime.files.writing import new_folder, write_file
from bilayer.runtime.jobs.run import Workers
from bilayer.training.evaluate.options import CheckpointOptions, FramesOptions, MeterOptions

if TYPE_CHECKING:
    from bilayer.training.evaluate.result import EvaluationResult


@click.group(cls=Group)
def main() -> None:
    """Measure image quality, identity, pose, expression and cost, in the form of the paper's Tables 1 and 2.

    Metrics whose weights are not given are named as not available; the others run without. docs/metrics.md defines
    them all and says where weights are to be had.
    """


@main.command()
@fills(FramesOptions)
@as_json_option
def frames(options: FramesOptions, as_json: bool) -> None:
    """Compare folders of frames of any methods with the true ones, in one table.

    Files belong together by their name, the suffix aside; folders within folders are searched.
    """
    options.check()
    from bilayer.training.evaluate.frame_folder import open_folders  # numpy and Pillow

    opened = open_folders(options.folders, options.truth, options.masks, options.drive)
    with importing():
        from bilayer.model.threads import torch_threads
        from bilayer.training.evaluate.asked import make_meter, without_missing
        from bilayer.training.evaluate.frames import evaluate_frames
    meter = make_meter(without_missing(options))
    with torch_threads(options.threads):
        result = evaluate_frames(options.folders, options.truth, meter, options.masks, options.drive, opened)
    _report(result, options, as_json)


@main.command()
@fills(CheckpointOptions)
@as_json_option
def checkpoint(options: CheckpointOptions, as_json: bool) -> None:
    """Measure checkpoints and baselines on a dataset by the paper's protocol.

    CHECKPOINT is a .safetensors file, or a folder of the authors' runs. One without a name is called "ours"; several
    need names, such as baseline=a.safetensors ours=b.safetensors.
    """
    options.check()
    from bilayer.training.evaluate.protocol import choose_sequences

    sequences = choose_sequences(options.data, options.protocol)
    with importing():
        from bilayer.model.threads import torch_threads
        from bilayer.training.evaluate.asked import without_missing
        from bilayer.training.evaluate.cases import read_case
        from bilayer.training.evaluate.many import WORKER_BYTES, evaluate_asked, load_asked
        from bilayer.training.evaluate.models import common_size
        from bilayer.training.evaluate.sheet import draw_sheet, save_png
        from bilayer.training.evaluate.times import add_times
    sheet, save_frames = options.sheet, options.save_frames
    asked = without_missing(options)
    models = load_asked(asked).models
    workers = options.workers(len(sequences), WORKER_BYTES)
    if options.device != "cpu" and options.jobs is None and options.ray is None:
        workers = Workers(1)  # processes would share the one device
    with (
        nullcontext() if save_frames is None else new_folder(save_frames) as frames,
        progress("identities", len(sequences)) as advance,
    ):
        result = evaluate_asked(asked, sequences, workers, frames, advance)
    size = common_size(models)
    if options.timings:
        with torch_threads(options.threads):
            result = add_times(result, models, read_case(sequences[0], options.every, size))
    _report(result, options, as_json)
    if sheet is not None:
        shown = [read_case(one, options.every, size) for one in sequences[: options.sheet_rows]]
        with torch_threads(options.threads):
            save_png(sheet, draw_sheet(next(iter(models.values())), shown))
        click.echo(f"\n{sheet}: {len(shown)} identities, a row each", err=True)
    if save_frames is not None:
        truth, landmarks = save_frames / "truth", save_frames / "landmarks"
        folders = f"--truth {pasted(truth)} --drive {pasted(landmarks)}"
        suggest(f"bilayer-eval frames yours=FOLDER {folders}", as_json)


def _report(result: "EvaluationResult", options: MeterOptions, as_json: bool) -> None:
    if options.out is not None:
        write_file(options.out, json_text(result.to_dict()) + "\n")
    show(result.to_dict(), result.to_markdown, as_json)


if __name__ == "__main__":
    main(prog_name="bilayer-eval")
