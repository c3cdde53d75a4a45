"""All metrics at once: what each method made of the same true frames.

Everything is measured on 8-bit pictures, as they are saved and shown, so that frames of any origin compare.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bilayer.runtime import agreement
from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.face.crop import scale_image
from bilayer.runtime.face.expression import eye_opening, mouth_opening
from bilayer.runtime.face.found import Landmarker
from bilayer.runtime.face.ibug import BOTH_EYES, MOUTH
from bilayer.runtime.face.recognition import RECOGNISER, IdentityRecogniser, identity_distance
from bilayer.training.efficientnet import FeatureDistance
from bilayer.training.metrics.catalogue import IDENTITY_METRICS, LANDMARK_METRICS
from bilayer.training.metrics.identity import RECOGNISER_SOURCE, FaceRecogniser, csim, unit
from bilayer.training.metrics.landmarks import PAPER_FACTOR, find_landmarks, nme
from bilayer.training.metrics.lpips import Lpips
from bilayer.training.metrics.pictures import l1, psnr, ssim
from bilayer.training.weight_files import LPIPS_HEADS, VGG16

DETECTOR_SOURCE = "needs the face detector, which python -m bilayer.runtime.face.model_files fetches"
IDENTITY_SOURCE = f"--identity measures it by the {RECOGNISER}, of the extra [identity]"
BATCH = 8  # pictures that are compared at once
OPENINGS = {"mouth": mouth_opening, "eye": eye_opening}

Vectors = Floats  # landmarks (68, 2) in pixels, or a unit vector (D,)
Scores = dict[str, NDArray[np.float64]]  # by metric (N,), NaN where it could not be measured: no face was found


@dataclass(frozen=True, eq=False)
class Truth:
    """N true frames, and what is known of them before any method is looked at."""

    pictures: Tensor  # (N, 3, H, W) in -1..1
    driving: tuple[Vectors | None, ...]  # (68, 2) pixels, those that drive the methods, where given
    landmarks: tuple[Vectors | None, ...]  # as the detector finds them
    embeddings: tuple[Vectors | None, ...]  # of the recogniser
    descriptions: tuple[Vectors | None, ...]  # of dlib's
    inside: tuple[NDArray[np.bool_] | None, ...]  # (H, W) where the person is; None: everywhere

    def places(self) -> list[Vectors | None]:
        """Return each face's landmarks (68, 2) in pixels: the driving ones, else the detector's; None without any."""
        pairs = zip(self.driving, self.landmarks, strict=True)
        return [found if given is None else given for given, found in pairs]


class Meter:
    """Holds the networks that metrics need. Those whose networks are not given are left out, and said to be.

    Args:
        landmarker: for NME, pose and expression errors.
        lpips: see `load_lpips`.
        recogniser: for CSIM as the paper has it.
        identity: for CSIM and distance by dlib.
        perception: for the distance of EfficientNet-Lite0's features; see `load_feature_distance`.
        device: where pictures are compared, and LPIPS and EfficientNet-Lite0 run.
    """

    def __init__(
        self,
        landmarker: Landmarker | None = None,
        lpips: Lpips | None = None,
        recogniser: FaceRecogniser | None = None,
        device: torch.device | str = "cpu",
        identity: IdentityRecogniser | None = None,
        perception: FeatureDistance | None = None,
    ) -> None:
        self._device = torch.device(device)
        self._landmarker, self._recogniser, self._identity = landmarker, recogniser, identity
        networks = {"lpips": lpips, "perception": perception}
        self._distances = {name: network.to(self._device) for name, network in networks.items() if network is not None}

    @property
    def unavailable(self) -> dict[str, str]:
        """Metrics that are left out, and what each needs."""
        missing = {}
        if "lpips" not in self._distances:
            missing["lpips"] = f"needs two files: {VGG16.source}; {LPIPS_HEADS.source}"
        if "perception" not in self._distances:
            missing["perception"] = "--perception measures it, by the extra [perception]"
        if self._recogniser is None:
            missing["csim"] = f"needs {RECOGNISER_SOURCE}"
        if self._identity is None:
            missing.update(dict.fromkeys(IDENTITY_METRICS, IDENTITY_SOURCE))
        if self._landmarker is None:
            missing.update(dict.fromkeys(LANDMARK_METRICS, DETECTOR_SOURCE))
        return missing

    def prepare_truth(
        self,
        pictures: Sequence[Bytes],
        driving: Sequence[Vectors | None] | None = None,
        masks: Sequence[Bytes | None] | None = None,
    ) -> Truth:
        """Prepare true pictures (H, W, 3) RGB, all of one size, for methods to be compared with.

        `driving` landmarks (68, 2), in pixels, are those that drive the methods: pose error is measured against them,
        and faces are aligned by them for CSIM, as published; without them the detector's do the latter. Sharpness
        counts where `masks` (H, W) are white.
        """
        nothing = (None,) * len(pictures)
        inside = tuple(None if mask is None else mask >= agreement.SOLID for mask in masks or nothing)
        truth = Truth(
            pictures=_to_tensor(pictures),
            driving=tuple(driving or nothing),
            landmarks=self._find(pictures),
            embeddings=nothing,
            descriptions=self._describe(pictures),
            inside=inside,
        )
        return replace(truth, embeddings=self._embed(pictures, truth.places()))

    def score(self, pictures: Sequence[Bytes], truth: Truth) -> Scores:
        """Score one method's pictures of the same frames, each (H, W, 3) RGB, by every available metric."""
        shown = _to_tensor(pictures)
        scores = self._compare(shown, truth.pictures)
        triples = zip(shown.numpy(), truth.pictures.numpy(), truth.inside, strict=True)
        scores["sharpness"] = np.array([agreement.sharpness(*triple) for triple in triples])
        if self._recogniser is not None:
            own = self._embed(pictures, truth.places())
            scores["csim"] = _each(csim, own, truth.embeddings)
        if self._identity is not None:
            described = self._describe(pictures)
            scores["identity_csim"] = _each(lambda a, b: csim(unit(a), unit(b)), described, truth.descriptions)
            scores["identity_distance"] = _each(identity_distance, described, truth.descriptions)
        if self._landmarker is not None:
            found = self._find(pictures)
            scores["nme"] = _each(nme, found, truth.landmarks)
            scores["nme_x10"] = PAPER_FACTOR * scores["nme"]
            scores["pose_error"] = _each(nme, found, truth.driving)
            scores["mouth_error"] = _each(lambda a, b: nme(a, b, MOUTH), found, truth.landmarks)
            scores["eye_error"] = _each(lambda a, b: nme(a, b, BOTH_EYES), found, truth.landmarks)
            for name, opening in OPENINGS.items():
                for side, points in (("opening", found), ("driven", truth.landmarks)):
                    scores[f"{name}_{side}"] = np.array([np.nan if p is None else float(opening(p)) for p in points])
        return scores

    def _compare(self, pictures: Tensor, truths: Tensor) -> Scores:
        functions: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1, "psnr": psnr, "ssim": ssim}
        functions |= self._distances
        parts: dict[str, list[Tensor]] = {name: [] for name in functions}
        with torch.inference_mode():
            for start in range(0, len(pictures), BATCH):
                a, b = (side[start : start + BATCH].to(self._device) for side in (pictures, truths))
                for name, function in functions.items():
                    parts[name].append(function(a, b).cpu())
        return {name: torch.cat(values).double().numpy() for name, values in parts.items()}

    def _find(self, pictures: Sequence[Bytes]) -> tuple[Vectors | None, ...]:
        if self._landmarker is None:
            return (None,) * len(pictures)
        return tuple(find_landmarks(self._landmarker, picture) for picture in pictures)

    def _describe(self, pictures: Sequence[Bytes]) -> tuple[Vectors | None, ...]:
        if self._identity is None:
            return (None,) * len(pictures)
        return tuple(self._identity.describe(picture) for picture in pictures)

    def _embed(self, pictures: Sequence[Bytes], places: Sequence[Vectors | None]) -> tuple[Vectors | None, ...]:
        known = [index for index, place in enumerate(places) if place is not None]
        if self._recogniser is None or not known:
            return (None,) * len(pictures)
        vectors = self._recogniser.embed([pictures[i] for i in known], [place for place in places if place is not None])
        by_index = dict(zip(known, vectors, strict=True))
        return tuple(by_index.get(index) for index in range(len(pictures)))


def remove_background(picture: Bytes, mask: Bytes) -> Bytes:
    """Paint the background of (H, W, 3) black: `mask` (H, W) is 255 in the foreground, soft at its edge."""
    kept: Bytes = np.rint(picture * (mask[..., None] / np.float32(255))).astype(np.uint8)
    return kept


def to_bytes(pictures: Tensor) -> Bytes:
    """Return (N, 3, H, W) in -1..1 as (N, H, W, 3), clamped and rounded to the nearest."""
    scaled = (pictures.detach().float().cpu().clamp(-1, 1) + 1) * 127.5
    return scaled.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _to_tensor(pictures: Sequence[Bytes]) -> Tensor:
    return torch.from_numpy(np.stack([scale_image(picture) for picture in pictures]))


def _each(
    measure: Callable[[Vectors, Vectors], float], found: Sequence[Vectors | None], truths: Sequence[Vectors | None]
) -> NDArray[np.float64]:
    """`measure` pair by pair, NaN where either side is missing."""
    pairs = zip(found, truths, strict=True)
    return np.array([np.nan if a is None or b is None else measure(a, b) for a, b in pairs], np.float64)
