"""What a run tells while it goes on: losses, metrics and picture grids, as files and for TensorBoard."""

import math
from collections.abc import Mapping

import click
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from bilayer.model.render import masked
from bilayer.runtime.arrays import Bytes
from bilayer.runtime.files.writing import write_file
from bilayer.training.board import Board
from bilayer.training.data.dataset import TrainingBatch
from bilayer.training.prediction import Prediction
from bilayer.training.run_folder import RunFolder


class RunLog:
    """Writes into the run's folder, from iteration `first` on."""

    def __init__(self, folder: RunFolder, first: int) -> None:
        self._folder = folder
        folder.cut_log(first)
        self._board = _open_board(folder, first)

    def start(self, iteration: int, precision: str, device: str) -> None:
        """Note what the steps from `iteration` on compute in, and where: "auto" is another on another machine."""
        self._folder.append_log({"iteration": iteration, "precision": precision, "device": device})

    def losses(self, iteration: int, values: Mapping[str, float]) -> None:
        """Log the weighted losses of a step."""
        self._folder.append_log({"iteration": iteration, "losses": {k: round(v, 6) for k, v in values.items()}})
        self._scalars("losses", iteration, values)

    def metrics(self, iteration: int, values: Mapping[str, float]) -> None:
        """Log the metrics on held-out people at an iteration, to the log file and to TensorBoard."""
        kept = {name: value for name, value in values.items() if math.isfinite(value)}  # JSON has no others
        self._folder.append_log({"iteration": iteration, "metrics": kept})
        self._scalars("metrics", iteration, values)

    def pictures(self, iteration: int, batch: TrainingBatch, prediction: Prediction) -> None:
        """Write a grid of a batch's frames as a picture."""
        grid = picture_grid(batch, prediction)
        path = self._folder.pictures / f"{iteration:08d}.png"
        write_file(path, lambda part: Image.fromarray(grid).save(part, format="PNG"))
        if self._board:
            self._board.picture(iteration, "frames", grid)

    def _scalars(self, group: str, iteration: int, values: Mapping[str, float]) -> None:
        if self._board:
            self._board.scalars(group, iteration, values)


def picture_grid(batch: TrainingBatch, prediction: Prediction) -> Bytes:
    """Draw a row per target frame: source, target, its stickman, result, low-frequency layer, warped texture, texture,
    mask and warping field: (rows * S, columns * S, 3) RGB.
    """
    frames = batch.target.images.shape[1]
    mask = prediction.mask

    def per_frame(per_person: Tensor) -> Tensor:
        return per_person.repeat_interleave(frames, dim=0)

    warping = F.pad(prediction.delta_uv, (0, 0, 0, 0, 0, 1))  # x red, y green
    columns = [
        per_frame(batch.source.images[:, 0]),
        batch.target.images.flatten(0, 1),
        batch.target.stickmen.flatten(0, 1),
        masked(prediction.image, mask),
        masked(prediction.lf_rgb, mask),
        masked(prediction.hf_rgb, mask),
        per_frame(prediction.texture),
        (2 * mask - 1).expand(-1, 3, -1, -1),
        warping,
    ]
    grid = torch.cat([torch.cat(list(column), dim=1) for column in columns], dim=2)  # (3, rows * S, columns * S)
    return ((grid.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()


def _open_board(folder: RunFolder, first: int) -> Board | None:
    try:
        return Board(folder.path / "tensorboard", first)
    except ImportError:
        click.echo("TensorBoard is not installed (pip install 'bilayer[training]'): log.jsonl has the losses", err=True)
        return None
