"""`bilayer-export` of the golden photo, in this process's server or in a process of its own."""

import subprocess
import sys
from functools import partial

from tests import forked, golden
from tests.benchmarks.avatars import write_rough_checkpoint

CASE = golden.load("case_a/preproc.npz")
RUNS = golden.CASE_A / "runs"


run_cli = partial(forked.run, "export")


def run_alone(*arguments, **options):
    """In a process of its own."""
    command = [sys.executable, "-m", "bilayer.export", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def tiny(photo, *more):
    landmarks = photo.with_suffix(".npy")
    return [photo, "--landmarks", landmarks, "--checkpoint", RUNS, "--no-mask", "--target", "none", *more]


def rough(photo, *more):
    """An export that FP16 spoils."""
    checkpoint = photo.with_name("rough.safetensors")
    return tiny(photo, "--checkpoint", checkpoint if checkpoint.exists() else write_rough_checkpoint(checkpoint), *more)
