"""What tests of integers share: the pose that is given, layers kept wide, a bundle without its integers."""

from dataclasses import replace

import numpy as np

from bilayer.runtime.bundle import PoseInput, read_bundle

GIVEN = PoseInput("pose", 136, 0)
WIDE = ("pose_fc0", "block0_conv2", "head.seg")
RANDOM = np.random.default_rng(3)


def _without_integers(bundle, folder):
    import shutil

    shutil.copytree(bundle.folder, folder / "copy")
    copy = read_bundle(folder / "copy")
    files = replace(copy.contract.files, integers=None)
    contract = replace(copy.contract, files=files, quantization=None)
    (copy.folder / "avatar.json").write_text(contract.to_json())
    return read_bundle(copy.folder)
