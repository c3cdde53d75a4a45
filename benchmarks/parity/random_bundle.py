"""An exported avatar of random numbers, to time what does not depend on them."""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bilayer.export.bundle import BundleParts, draft_bundle, write_bundle
from bilayer.export.network.layers import FoldedGenerator
from bilayer.export.network.onnx_write import build_onnx
from bilayer.export.options import SNPE_OPSET
from bilayer.export.verify import NOT_VERIFIED
from bilayer.model.config import ModelConfig
from bilayer.runtime.bundle import Contract, PhotoSource, PoseInput
from bilayer.runtime.face.ibug import POSE_WIDTH
from bilayer.runtime.provenance import Graph, Origin


def write_random_bundle(
    folder: Path,
    generator: FoldedGenerator,
    config: ModelConfig,
    encoded_pose: NDArray[np.float64],  # (1, width), as the network takes it
    upsample: str,
    frame_size: int | None = None,
) -> Path:
    """Write a bundle with this network and a random texture, for a face that is a drawing; return `folder`.

    `frame_size` is that of the texture, too.
    """
    size, drawn = config.image_size, frame_size or config.image_size
    harmonics = config.pse_num_harmonics if config.pse_use_harmonic_enc else 0
    contract = partial(
        Contract,
        image_size=size,
        texture_size=drawn,
        frame_size=drawn,
        align_corners=False,
        input=PoseInput("pose", generator.input_width, harmonics),
        outputs=generator.outputs,
        source=PhotoSource(
            [size, size], [0, 0, size, size], [float(number) for number in encoded_pose[0, :POSE_WIDTH]]
        ),
        graph=Graph(SNPE_OPSET, upsample, round(sum(generator.macs().values()) / 1e9, 4), []),
        verification=NOT_VERIFIED,
        origin=Origin("random numbers", "", False, False, {}),
    )
    texture = np.random.default_rng(0).uniform(-1, 1, (3, drawn, drawn)).astype(np.float32)
    parts = BundleParts(contract, texture, Image.new("RGB", (size, size)))
    with draft_bundle(build_onnx(generator), folder / "avatar.dlc", "none") as draft:
        write_bundle(parts, draft)
    return folder
