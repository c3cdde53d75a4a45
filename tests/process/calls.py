"""Calls of the library, and what each has changed of the process: `python -m tests.process.calls KIND FOLDER`.

The folder has `bundle`, a tiny avatar's, and `face.png` with `face.npy`, its landmarks. The calls that were made and
what was another after each are written there, to told/KIND.json.
"""

import gc
import importlib
import json
import logging
import os
import random
import sys
import time
from contextlib import suppress
from pathlib import Path

from bilayer.runtime.errors import BilayerError
from tests.process import player, trained
from tests.process.state import changes, snapshot

# Of seconds each, which are made once: what they may add as their libraries are loaded, they may add each time
DEAR = {
    "drawing by a GPU", "recognising a person", "timing networks", "counting", "an export with coreml",
    "an export in integers", "an export with tflite",
}  # fmt: skip


def main(kind, folder):
    kinds = {
        "player": player.player_calls,
        "faces": player.face_calls,
        "exports": trained.export_calls,
        "training": trained.training_calls,
        "numbers": trained.number_calls,
    }
    heavy = kind not in ("player", "faces")
    for library in ("numpy", "cv2", "PIL.Image", "PIL.ImageFile", "numba", "matplotlib", *(["torch"] if heavy else ())):
        importlib.import_module(library)
    for library in ("av.logging", "pygame"):
        with suppress(ImportError):
            importlib.import_module(library)
    make_unusual()
    folder, made, found = Path(folder), [], {}
    for name, call in kinds[kind](folder):
        gc.collect()
        before = snapshot()
        for turn in ("at first", "again")[: 1 if name in DEAR else 2]:
            with suppress(BilayerError):
                call()
            after = snapshot()
            told = changes(before, after, adding=turn == "at first")
            for _ in range(20):  # what has ended may take a moment to be gone
                if not told:
                    break
                time.sleep(0.1)
                gc.collect()
                after = snapshot()
                told = changes(before, after, adding=turn == "at first")
            if told:
                found[f"{name}, {turn}"] = told
            before = after
        made.append(name)
    (folder / "told").mkdir(exist_ok=True)
    (folder / "told" / f"{kind}.json").write_text(json.dumps({"made": made, "changed": found}))


def make_unusual():
    """Let the state be what no library would choose, so that one that sets it to its usual value is seen, too."""
    import cv2
    import numpy as np
    from PIL import Image

    gc.set_threshold(800, 9, 9)
    os.umask(0o027)
    os.environ["BILAYER_UNUSUAL"] = "1"
    sys.setrecursionlimit(1234)
    random.seed(5)
    np.random.seed(5)  # the process's
    np.seterr(divide="ignore")
    cv2.setNumThreads(3)
    cv2.setLogLevel(2)
    Image.MAX_IMAGE_PIXELS = 10**8
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("bilayer").setLevel(logging.INFO)
    if av := sys.modules.get("av"):
        av.logging.set_level(av.logging.FATAL)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(5)
        torch.set_num_threads(3)


if __name__ == "__main__":
    main(*sys.argv[1:])
