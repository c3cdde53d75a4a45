"""Events for TensorBoard, read by TensorBoard."""

import io
import threading

import numpy as np
import pytest
from PIL import Image

from bilayer.runtime.errors import OutputError
from bilayer.training.board import Board

pytest.importorskip("tensorboard")


def test_tensorboard_reads_curves_and_pictures_of_a_run_that_went_on(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    picture = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    begun = Board(tmp_path, 0)
    for iteration in (0, 2, 4):
        begun.scalars("losses", iteration, {"G_L1": iteration / 2, "D_adversarial": -1.0})
    (events,) = tmp_path.iterdir()
    events.rename(tmp_path / events.name.replace("tfevents.", "tfevents.0"))  # an earlier one
    on = Board(tmp_path, 4)
    on.scalars("losses", 4, {"G_L1": 7.0})
    on.picture(4, "frames", picture)
    read = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in read.Scalars("losses/G_L1")] == [(0, 0.0), (2, 1.0), (4, 7.0)]
    assert [event.step for event in read.Scalars("losses/D_adversarial")] == [0, 2]  # the later one goes on from 4
    (shown,) = read.Images("frames")
    assert shown.step == 4
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(shown.encoded_image_string))), picture)


def test_a_full_disk_is_told_in_the_thread_that_writes(tmp_path):
    threads = threading.active_count()
    board = Board(tmp_path, 0)
    (events,) = tmp_path.iterdir()
    events.unlink()
    events.symlink_to("/dev/full")
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        board.scalars("losses", 0, {"G_L1": 1.0})
    assert threading.active_count() == threads
