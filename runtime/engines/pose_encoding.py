"""Pose vectors as an avatar's network wants them."""

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from bilayer.runtime.arrays import Floats
from bilayer.runtime.bundle import Outputs, PoseInput
from bilayer.runtime.errors import BundleError, LandmarkError
from bilayer.runtime.face.ibug import POSE_WIDTH
from bilayer.runtime.frame import NetworkOutputs, Values

MAX_HARMONICS = 16  # 2**15 pi is beyond what a float32 landmark can tell


class PoseEncoder:
    """Checks poses and encodes them, into one array that it reuses.

    Raises:
        BundleError: an input that is no pose; `where` names the file.
    """

    def __init__(self, expected: PoseInput, where: str) -> None:
        harmonics = expected.harmonics
        width = 2 * harmonics * POSE_WIDTH if harmonics else POSE_WIDTH
        if not 0 <= harmonics <= MAX_HARMONICS or expected.width != width:
            raise BundleError(
                f"{where}: input: {expected.width} numbers with {harmonics} harmonics, expected {width}; export again"
            )
        frequencies = np.float32(math.pi) * np.float32(2) ** np.arange(harmonics, dtype=np.float32)
        self._frequencies = np.tile(frequencies, (POSE_WIDTH, 1))
        self._finite = np.empty(POSE_WIDTH, bool)
        self._pose = np.empty(POSE_WIDTH, np.float32)
        self._phases = np.empty((POSE_WIDTH, harmonics), np.float32)
        self._encoded = np.empty((2, POSE_WIDTH, harmonics), np.float32)  # sines, cosines

    def encode(self, pose: ArrayLike) -> Floats:
        """Encode (136,) or (68, 2): as it is, or as all sines, then all cosines, each coordinate's frequencies in turn.

        Raises:
            LandmarkError: another shape, NaN or infinite values.
        """
        given = np.asarray(pose)
        if given.shape not in ((POSE_WIDTH,), (POSE_WIDTH // 2, 2)) or given.dtype.kind not in "fiu":
            raise LandmarkError(f"pose: expected (136,) or (68, 2) numbers, found {given.dtype} {given.shape}")
        with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is reported as such
            self._pose[:] = given.reshape(-1)
        if not np.isfinite(self._pose, out=self._finite).all():
            raise LandmarkError(f"pose: number {int(np.argmin(self._finite))} is not finite")
        if not self._frequencies.size:
            return self._pose
        np.copyto(self._phases, self._pose[:, None])
        np.multiply(self._phases, self._frequencies, out=self._phases)  # of one shape: broadcasting takes a buffer
        np.sin(self._phases, out=self._encoded[0])
        np.cos(self._phases, out=self._encoded[1])
        return self._encoded.reshape(-1)


class TensorNetwork:
    """A `Network` out of what makes tensors (1, C, S, S), by name, of an encoded pose: for comparing, not for playing.

    Args:
        given: how the pose is encoded.
        outputs: where the results stand in the tensors.
        infer: encoded pose (width,) -> the tensors.

    Raises:
        BundleError: an input that is no pose.
    """

    def __init__(
        self,
        given: PoseInput,
        outputs: Outputs,
        infer: Callable[[Floats], Mapping[str, Values]],
        where: str = "network",
    ) -> None:
        self._encoder, self._outputs, self._infer = PoseEncoder(given, where), outputs, infer

    def run(self, pose: ArrayLike) -> NetworkOutputs:
        """Return the results for a pose (136,) or (68, 2), not encoded; in new arrays if `infer` makes such."""
        return NetworkOutputs.read(self._outputs, self._infer(self._encoder.encode(pose)))
