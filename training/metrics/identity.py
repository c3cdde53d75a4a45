"""CSIM: whether a face recogniser takes two pictures for the same person."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.engines.onnx_runtime import make_session
from bilayer.runtime.errors import CheckpointError
from bilayer.runtime.files.reading import FileKind, is_there, read_bytes

RECOGNISER_SOURCE = (
    "an ArcFace network as ONNX, input (N, 3, 112, 112), output (N, D), such as w600k_r50.onnx of InsightFace's "
    "buffalo_l (github.com/deepinsight/insightface; for non-commercial research)"
)
SIDE = 112  # px

# Where ArcFace wants the right eye, left eye, nose tip and corners of the mouth (the picture's left one first), in
# its 112 px: InsightFace's template, that its networks were trained with. The published code has the same points
# stretched from 96 px wide; with its own network (ir_se-50 of TreB1eN/InsightFace_Pytorch) that is what fits.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
_POINTS = (slice(36, 42), slice(42, 48), slice(30, 31), slice(48, 49), slice(54, 55))  # means of these landmarks


def align_face(picture: Bytes, landmarks: Floats) -> Bytes:
    """Return the face of (H, W, 3) RGB with its `landmarks` (68, 2) moved onto TEMPLATE: (112, 112, 3), outside black.

    By the similarity that is nearest in the least-squares sense (Umeyama 1991), and bilinear sampling.
    """
    points = np.stack([landmarks[part].mean(axis=0) for part in _POINTS]).astype(np.float64)
    matrix = similarity(points, TEMPLATE.astype(np.float64))
    warped = cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return warped.astype(np.uint8, copy=False)


def similarity(points: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the turn, scale and shift (2, 3) that takes `points` (K, 2) nearest to `targets`, without mirroring."""
    centre, goal = points.mean(axis=0), targets.mean(axis=0)
    a, b = points - centre, targets - goal
    size = max(float((a * a).sum()), 1e-12)
    cosine, sine = (a * b).sum() / size, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / size
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.hstack([turn, (goal - turn @ centre)[:, None]])


class FaceRecogniser:
    """A user's ArcFace network. Bytes are scaled to -1..1 unless the network itself begins with a scaling.

    Raises:
        CheckpointError: no such file, no ONNX network, or not one from (N, 3, 112, 112) to one vector per face.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        if not is_there(path):
            raise CheckpointError(f"{path}: no such file; expected {RECOGNISER_SOURCE}")
        self._session: Any = _open_session(self._path)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(outputs) != 1 or list(shape[1:]) != [3, SIDE, SIDE]:
            raise CheckpointError(
                f"{path}: expected one input (N, 3, {SIDE}, {SIDE}) and one output, found inputs "
                f"{[i.shape for i in inputs]} and {len(outputs)} outputs; it is to be {RECOGNISER_SOURCE}"
            )
        self._input, self._one_at_a_time = inputs[0].name, shape[0] == 1
        self._takes_bytes = _scales_by_itself(self._path)

    def embed(self, pictures: Sequence[Bytes], landmarks: Sequence[Floats]) -> Floats:
        """Return unit vectors (N, D) of the faces in pictures (H, W, 3) RGB; `landmarks` (68, 2) say where they are.

        Raises:
            CheckpointError: the network's result is not one vector per face.
        """
        faces = np.stack([align_face(p, marks) for p, marks in zip(pictures, landmarks, strict=True)])
        planar = faces.transpose(0, 3, 1, 2).astype(np.float32)
        if not self._takes_bytes:
            planar = planar / np.float32(127.5) - 1
        batches = [planar[i : i + 1] for i in range(len(planar))] if self._one_at_a_time else [planar]
        vectors = np.concatenate([self._session.run(None, {self._input: batch})[0] for batch in batches])
        if vectors.ndim != 2 or len(vectors) != len(faces):
            raise CheckpointError(f"{self._path}: expected vectors ({len(faces)}, D), found {vectors.shape}")
        return unit(vectors)


def unit(vectors: Floats) -> Floats:
    """Return vectors (..., D) at length 1."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def csim(embedding: Floats, truth: Floats) -> float:
    """Return the cosine similarity of unit vectors (D,): 1 is the same person to the network, about 0 somebody else."""
    return float(embedding.astype(np.float64) @ truth.astype(np.float64))


def _open_session(path: Path) -> Any:
    try:
        return make_session(path)
    except Exception as error:  # onnxruntime raises its own kinds, one for each way a file can be bad
        raise CheckpointError(f"{path}: not a network that onnxruntime can run ({type(error).__name__})") from error


def _scales_by_itself(path: Path) -> bool:
    """Tell whether the graph itself normalises pixels: InsightFace's exports from MXNet begin with Sub and Mul."""
    import onnx

    first = [
        node.op_type
        for node in onnx.load_model_from_string(read_bytes(path, FileKind.ONNX, CheckpointError)).graph.node[:8]
    ]
    return "Sub" in first and "Mul" in first
