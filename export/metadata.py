"""What an avatar's ONNX file says of itself, so that files which do not belong together are told from each other.

avatar.json and the texture lie beside the network and could be another avatar's, or changed: each of these entries is
made of them a second time and compared (`contradictions`).
"""

import hashlib
from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import ArrayLike

from bilayer.runtime.arrays import Floats
from bilayer.runtime.bundle import Outputs, PoseInput
from bilayer.runtime.sampler.grid_sample import PADDING

SIZES = ("texture_size", "frame_size")  # entries that are there where they differ from image_size
AVATAR_ENTRY = "avatar"  # the entry that names one avatar
GRAPH_ENTRY = "graph_sha256"  # the entry that `seal` makes


def describe_contract(
    given: PoseInput,
    outputs: Outputs,
    image_size: int,
    frame_size: int,
    align_corners: bool,
    source_pose: ArrayLike,  # (136,)
    texture: Floats,  # packed, (T + 3, T + 3, 4)
) -> dict[str, str]:
    """Return the entries that avatar.json and texture must agree with, in words for whoever opens the ONNX alone."""
    entries = {
        "input.pose": f"{given.tensor} (1, {given.width}): 68 (x, y) landmarks across the crop, -1..1, x right, y down"
        + (f"; sines, then cosines at {given.harmonics} frequencies" if given.harmonics else ""),
        "warp": f"identity + delta_uv, bilinear, zeros outside, align_corners {align_corners}",
        "image_size": str(image_size),
        "source_pose_sha256": _sha256(np.asarray(source_pose, "<f4")),
        "texture_sha256": _sha256(np.asarray(texture, "<f4")),
    }
    for name, size in zip(SIZES, (texture.shape[0] - PADDING, frame_size), strict=True):
        if size != image_size:
            entries[name] = str(size)
    for name, channels in outputs.by_name.items():
        place = f"{channels.tensor}[:, {channels.start}:{channels.stop}]"
        entries[f"output.{name}"] = f"{place} * {channels.scale:g} + {channels.offset:g}, NCHW"
    named = "\n".join(f"{key}={value}" for key, value in sorted(entries.items()))
    return entries | {AVATAR_ENTRY: hashlib.sha256(named.encode()).hexdigest()[:32]}


def seal(model: onnx.ModelProto) -> None:
    """Note the hash of nodes and weights in the model's metadata: whoever changes one of them later is told of."""
    model.metadata_props.add(key=GRAPH_ENTRY, value=_graph_sha256(model))


def contradictions(model: onnx.ModelProto, described: Mapping[str, str]) -> list[str]:
    """Return where the network's metadata and what avatar.json and the texture say differ, a line each.

    A network of version 0.1, which names no avatar, contradicts nothing.
    """
    own = {entry.key: entry.value for entry in model.metadata_props}
    if AVATAR_ENTRY not in own:
        return []
    described = {**described, GRAPH_ENTRY: _graph_sha256(model)}
    optional = {key for key in own if key.startswith("output.") or key in SIZES}
    return [
        f"{key}: the network says {own.get(key, 'nothing')!r}, its avatar.json and texture {described.get(key, '')!r}"
        for key in sorted({*described, *optional} - {AVATAR_ENTRY})
        if own.get(key) != described.get(key)
    ]


def _graph_sha256(model: onnx.ModelProto) -> str:
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()


def _sha256(array: Floats) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
