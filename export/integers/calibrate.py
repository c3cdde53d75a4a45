"""The poses that the ranges of integers are taken from, none of which judges the result."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bilayer.export.integers.scheme import Grid, make_grid
from bilayer.export.network.evaluate import run_layer
from bilayer.export.network.layers import INPUT, FoldedGenerator, Layer
from bilayer.runtime.arrays import Floats
from bilayer.runtime.bundle import PoseInput
from bilayer.runtime.engines.pose_encoding import PoseEncoder
from bilayer.runtime.errors import InputError
from bilayer.runtime.motion.poses import load_poses
from bilayer.runtime.motion.retarget import driving_poses
from bilayer.runtime.motion.track import Track, demo_motion
from bilayer.runtime.vocabulary import RetargetMode

Use = Literal["calibrate", "search"]

# Which frames of the built-in motion, in parts of 32 of its length. Export and ladder judge by multiples of 1/4 and 1/8
# (runtime/motion/poses.py), so by none of these
_PARTS: dict[Use, range] = {"calibrate": range(1, 32, 2), "search": range(2, 32, 8)}
# Drivers whose faces are wide, and long: (across, down) of the source's own, and how much further they move
_DRIVERS = ((1.25, 0.9), (0.85, 1.15))
_EXTREME = 1.6
_EXTREMES = 2  # poses of each driver, retargeted in each way
_MODES: tuple[RetargetMode, ...] = ("relative", "procrustes")


def motion_poses(source: Floats, given: PoseInput, use: Use) -> Tensor:
    """Return poses of the built-in motion on `source` (136,), as the network takes them: (N, width)."""
    poses, _ = load_poses(source)
    return _encoded(poses[[part * len(poses) // 32 for part in _PARTS[use]]], given)


def calibration_poses(source: Floats, given: PoseInput) -> Tensor:
    """Return all the poses that ranges and roundings are learned from, as the network takes them: (N, width)."""
    return torch.cat([motion_poses(source, given, "calibrate"), extreme_poses(source, given)])


def extreme_poses(source: Floats, given: PoseInput) -> Tensor:
    """Return retargeted poses of drivers with other faces, who move more than the built-in motion does: (N, width)."""
    face, found = np.asarray(source, np.float32).reshape(-1, 2), list[Floats]()
    middle = face.mean(0)
    for shape in _DRIVERS:
        driver = (face - middle) * np.array(shape, np.float32) + middle
        moved = demo_motion(driver).landmarks
        track = Track((driver + _EXTREME * (moved - driver)).astype(np.float32), 25.0)
        for mode in _MODES:
            poses = driving_poses(np.asarray(source, np.float32), track, mode)
            found += _farthest(poses, [np.asarray(source, np.float32)])
    return _encoded(np.stack(found), given)


def _farthest(poses: Floats, known: list[Floats]) -> list[Floats]:
    """Those of the poses (T, 136) that are farthest from the `known` ones, and from each other."""
    for _ in range(_EXTREMES):
        apart = np.min([np.square(poses - one).sum(1) for one in known], axis=0)
        known = [*known, poses[int(np.argmax(apart))]]
    return known[-_EXTREMES:]


def grid_over(values: Tensor, bits: int, margin: float, what: str) -> Grid:
    """Return a grid over all of `values` and a `margin` beyond, as a share of their range.

    Raises:
        InputError: numbers that are not finite, or the same everywhere; `what` names the tensor.
    """
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise InputError(f"{what}: is not finite in poses of the built-in motion; its weights are no network's")
    if low == high:
        raise InputError(
            f"{what}: is {low:g} in every pose and pixel: there is no range to take; take --precision fp32"
        )
    beyond = margin * (high - low)
    return make_grid(low - beyond if low < 0 else low, high + beyond if high > 0 else high, bits)


def network_outputs(
    generator: FoldedGenerator, poses: Tensor, grids: Mapping[str, Grid] | None = None
) -> dict[str, Tensor]:
    """Return the output tensors (N, ...) for encoded poses (N, width), each layer rounded to its grid, if any."""
    grids = grids or {}
    pose = grids[INPUT].rounded(poses) if INPUT in grids else poses
    return run_on(generator.layers, {INPUT: pose}, generator.output_tensors, grids)


def run_on(
    layers: Sequence[Layer], values: Mapping[str, Tensor], wanted: Sequence[str], grids: Mapping[str, Grid]
) -> dict[str, Tensor]:
    """Return the `wanted` of what `layers` make of `values`, each rounded to its grid, if it has one."""
    made, last = dict(values), {name: layer for layer in layers for name in layer.inputs}
    for layer in layers:
        result = run_layer(layer, [made[name] for name in layer.inputs])
        made[layer.name] = grids[layer.name].rounded(result) if layer.name in grids else result
        for name in set(layer.inputs):
            if last[name] is layer and name not in wanted:
                del made[name]  # the memory of the large maps
    return {name: made[name] for name in wanted}


def _encoded(poses: Floats, given: PoseInput) -> Tensor:
    encoder = PoseEncoder(given, "the avatar")
    return torch.from_numpy(np.stack([encoder.encode(pose).copy() for pose in poses]))
