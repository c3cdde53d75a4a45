"""What is hostile, by kind: each module lists its cases."""

from tests.hostile.families import (
    anchors,
    bundles,
    checkpoints,
    data_folders,
    dlcs,
    lids,
    manifests,
    onnx_models,
    outputs,
    photos,
    results,
    settings,
    tflites,
    tracks,
    videos,
)

FAMILIES = (
    photos,
    videos,
    checkpoints,
    dlcs,
    bundles,
    anchors,
    lids,
    tracks,
    onnx_models,
    settings,
    data_folders,
    results,
    tflites,
    manifests,
    outputs,
)
CASES = tuple(case for family in FAMILIES for case in family.CASES)
