"""A library call leaves the process as it found it: only a command may change what the whole process shares."""

import subprocess
import sys

import numpy as np
from PIL import Image

from tests import golden

_CALLS = """
import gc, logging, os, random, signal, sys, threading, warnings
from pathlib import Path

import numpy as np
import torch

import bilayer
from bilayer.benchmarks.parity.ladder import climb
from bilayer.benchmarks.parity.subject import open_subject
from bilayer.benchmarks.parity.rungs.trained import ExactTrained, make_trained
from bilayer.export.options import ExportOptions

photo, landmarks, checkpoint, out = map(Path, sys.argv[1:])


def shared():
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in sorted(logging.root.manager.loggerDict))]
    return {
        "torch's threads": torch.get_num_threads(),
        "torch's gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "torch's numbers": (torch.get_default_dtype(), torch.initial_seed(), torch.get_rng_state().tolist()),
        "other numbers": (random.getstate(), np.random.get_state()[1].tolist(), np.geterr()),
        "garbage collection": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), gc.get_debug()),
        "environment": dict(os.environ),
        "signals": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
        "warnings": list(warnings.filters),
        "logging": [(logger.name, logger.level, logger.handlers, logger.propagate) for logger in loggers],
        "threads": threading.active_count(),
        "streams": (sys.stdout, sys.stderr, sys.excepthook),
        "folder": os.getcwd(),
    }


def call():
    export = bilayer.export_avatar(
        photo, out=out, target="none", checkpoint=checkpoint, landmarks=landmarks, mask=False
    )
    bilayer.check(out.parent, frames=1)
    pose = np.array(export.bundle.contract.source.pose, np.float32)
    source = ExportOptions(photo, checkpoint=checkpoint, landmarks=landmarks, mask=False)
    trained = make_trained(open_subject(export.bundle, [pose]), source)
    assert climb(trained.subject, [trained], truth=ExactTrained.of(trained)).verdict == "passed"


torch.set_num_threads(1)
first = shared()
call()  # imports what is imported on the way; libraries then add filters and loggers of their own
between = shared()
for name in ("torch's threads", "garbage collection", "environment", "signals", "threads", "folder"):
    assert between[name] == first[name], name
assert logging.getLogger().handlers == []
torch.set_num_threads(3)
gc.set_threshold(800, 9, 9)
before = shared()
call()
after = shared()
for name, value in before.items():
    assert after[name] == value, name
"""


def test_an_export_and_its_checks_leave_the_process_as_it_was(tmp_path):
    case = golden.load("case_a/preproc.npz")
    Image.fromarray(case["source_image"]).save(tmp_path / "face.png")
    np.save(tmp_path / "face.npy", case["source_landmarks"])
    given = [tmp_path / "face.png", tmp_path / "face.npy", golden.CASE_A / "runs", tmp_path / "out" / "avatar.dlc"]
    command = [sys.executable, "-c", _CALLS, *map(str, given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
