"""How far two computations of an avatar's network agree, and whether that is enough.

The export's verification, the parity ladder, the player's gate, the device bench and the metrics of training measure
with these functions, and judge by these thresholds.

Conventions. PSNR is in dB, in float64; equal arrays have 200, arrays that hold NaN or infinity -200, and nothing leaves
that range: JSON has no infinity, and a worst or a mean over poses stays a number that can be compared. No pair of
float32 arrays that differ by more than their rounding reaches 200. A frame's PSNR is over R, G, B and A. The warp's
error is the largest Euclidean distance of two offsets, in texture pixels, of a texture of the network's own size: an
avatar drawn larger has the same network. Of an offset that is not finite it is that texture's side: it points anywhere.

SSIM is kept by hand: scikit-image's differs from the authors' in padding and constants, and so from the paper's tables.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.frame import NetworkOutputs, Values

Kind = Literal["fp32", "fp16-hybrid", "fp16", "bf16", "w8a16", "w8a8"]  # what a computation is held to
Verdict = Literal["passed", "warned", "broken"]

MOST_DB = 200.0  # of equal arrays; its negative of arrays that are not finite
FRAME = "frame"
RANGES = {"delta_uv": 2.0, "lf_rgb": 2.0, "seg": 1.0, FRAME: 255.0}  # what PSNR is relative to

SOLID = 250  # of a mask's 255: what is the person and no soft edge, where sharpness is measured

SSIM_TAPS = 11  # px, side of the window
SSIM_SIGMA = 1.5  # px
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # Wang et al. 2004 for a range of 1, though the range here is 2: as published


@dataclass(frozen=True)
class Thresholds:
    """The limits that figures are held to, each the worst pose's, against the truth."""

    fp32_psnr: float = 100.0  # dB of each result; float32's own rounding leaves about 117
    fp32_frame_psnr: float = 60.0  # dB of the 8-bit frame: one value in 15 may fall on the other side of a level
    # FP16 storage is judged as the network's own error, and the frame by structure: a frame's dB say how sharp the
    # texture is. Of one network (warp 0.18 px off) it is 61 with a soft texture, 54 with a photograph, 37 with a
    # checkerboard; the SSIM of all is over 0.992.
    fp16_hybrid_psnr: float = 60.0  # dB of lf_rgb and seg: rounding to 8 bits, which any screen does, leaves 59
    fp16_hybrid_uv_pixels: float = 0.25  # texture pixels
    fp16_hybrid_frame_ssim: float = 0.99
    # Of the frame: a fitted texture, the sharpest that an avatar has, is left with 0.991 in FP16, 0.964 in bfloat16
    reduced_warning_ssim: float = 0.95
    # FP16 arithmetic is a bracket, and no number of it is right or wrong. Under this there is no picture left of it:
    # sequential sums of wild random weights reach 31
    reduced_floor: float = 20.0  # dB of the frame
    # A measured FP16 or bfloat16 that is this much worse than the emulation's worse end computes something else
    below_bracket: float = 10.0  # dB of a result
    bracket_ceiling: float = 80.0  # dB: an emulation beyond counts as this, for a frame of 8 bits shows none of it


DEFAULT = Thresholds()


@dataclass(frozen=True)
class Agreement:
    """How far what was found agrees with what was expected; the worst of some poses."""

    psnr_db: dict[str, float]  # of each result by name, and of the frame where frames were compared
    uv_pixels: float  # the warp's error
    not_finite: int = 0  # numbers of what was found
    frame_ssim: float = 1.0  # over four channels; 1 also where no frames were compared

    @property
    def worst_db(self) -> float:
        """The least PSNR of the network's results, in dB; the frame does not count."""
        return min(db for name, db in self.psnr_db.items() if name != FRAME)

    @classmethod
    def worst(cls, poses: Iterable["Agreement"]) -> "Agreement":
        """Return the worst of each figure by itself; numbers that are not finite are added up."""
        every = list(poses)
        names = every[0].psnr_db
        return cls(
            {name: min(one.psnr_db[name] for one in every) for name in names},
            max(one.uv_pixels for one in every),
            sum(one.not_finite for one in every),
            min(one.frame_ssim for one in every),
        )


@dataclass(frozen=True)
class Ruling:
    """What was ruled on one way to compute an avatar's network."""

    verdict: Verdict
    reasons: tuple[str, ...]  # empty where it passed


def decibels(mean_square: float, value_range: float) -> float:
    """Return PSNR of a mean squared error, for values of that range, by the module's convention."""
    if mean_square == 0:
        return MOST_DB
    if not (math.isfinite(mean_square) and 0 < value_range < math.inf):
        return -MOST_DB
    return max(-MOST_DB, min(MOST_DB, 20 * math.log10(value_range) - 10 * math.log10(mean_square)))


def psnr(found: NDArray[Any], expected: NDArray[Any], value_range: float) -> float:
    """Return the peak signal-to-noise ratio in dB of arrays of one shape, for values of that range."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = float(np.mean(np.square(found.astype(np.float64) - expected)))
    return decibels(error, value_range)


def uv_pixels(found: Values, expected: Values) -> float:
    """Return the greatest error of a delta_uv (2, S, S) in pixels of a texture of S; -1..1 is its width at any size."""
    side = expected.shape[-1]
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.hypot(*(found.astype(np.float64) - expected)) * (side / 2)
    return float(np.where(np.isfinite(apart), apart, side).max())


def ssim(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the structural similarity of pictures (C, H, W) in -1..1, as the paper's authors measure it: 1 equal.

    Wang et al. 2004: a Gaussian window of 11 taps, sigma 1.5, each channel by itself. As in the published code the
    pictures are padded with zeros (mid grey), and the constants are those for a range of 1 although it is 2: values
    are lower than scikit-image's, and comparable with the paper's Table 2 alone. Computed in float64.
    """
    x, y = found.astype(np.float64), expected.astype(np.float64)
    mean_x, mean_y, square_x, square_y, product = map(_blurred, (x, y, x * x, y * y, x * y))
    variances = square_x - mean_x**2 + square_y - mean_y**2
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x**2 + mean_y**2 + SSIM_C1)
    structure = (2 * (product - mean_x * mean_y) + SSIM_C2) / (variances + SSIM_C2)
    return float((luminance * structure).mean())


def frame_ssim(found: Bytes, expected: Bytes) -> float:
    """Return SSIM of RGBA frames (S, S, 4), over all four channels."""
    return ssim(*(frame.transpose(2, 0, 1) / 127.5 - 1 for frame in (found, expected)))


def sharpness(
    found: NDArray[Any],
    expected: NDArray[Any],
    inside: NDArray[np.bool_] | None = None,
    expected_inside: NDArray[np.bool_] | None = None,
) -> float:
    """Return a picture's gradients over the true one's: 1 as sharp, below softer, above noisier; NaN if that is flat.

    Of each, (C, H, W), the mean absolute difference of neighbours to the right and below. Of `inside` (H, W) only
    pairs count whose pixels both are, so that an outline painted into both pictures does not; `expected_inside` is the
    true one's, where the person does not stand in the same place.
    """
    own = _gradient(found.astype(np.float64), inside)
    true = _gradient(expected.astype(np.float64), inside if expected_inside is None else expected_inside)
    return own / true if true > 0 else math.nan


def _gradient(picture: NDArray[np.float64], inside: NDArray[np.bool_] | None = None) -> float:
    """Return the mean absolute difference of neighbours, right and below, in (C, H, W); NaN where no pair is inside."""
    kept = np.ones(picture.shape[-2:], np.bool_) if inside is None else inside
    across, down = kept[:, 1:] & kept[:, :-1], kept[1:] & kept[:-1]
    total = (np.abs(np.diff(picture, axis=-1)) * across).sum() + (np.abs(np.diff(picture, axis=-2)) * down).sum()
    number = len(picture) * (int(across.sum()) + int(down.sum()))
    return float(total) / number if number else math.nan


def _blurred(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Planes (C, H, W), each blurred by SSIM's window, zeros beyond its ends."""
    import cv2  # takes a while to load, and most of this module's users compare no frames

    half = SSIM_TAPS // 2
    window = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * SSIM_SIGMA**2))
    window /= window.sum()
    blurred = [cv2.sepFilter2D(plane, -1, window, window, borderType=cv2.BORDER_CONSTANT) for plane in planes]
    return np.stack(blurred).astype(np.float64, copy=False)


def compare(
    found: NetworkOutputs, expected: NetworkOutputs, frame: Bytes | None = None, expected_frame: Bytes | None = None
) -> Agreement:
    """Return the agreement of one pose's results, and of its RGBA frames (S, S, 4) where they are given."""
    pairs: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {
        name: (found.by_name[name], values) for name, values in expected.by_name.items()
    }
    similarity = 1.0
    if frame is not None and expected_frame is not None:
        pairs[FRAME] = frame, expected_frame
        similarity = frame_ssim(frame, expected_frame)
    return Agreement(
        {name: psnr(*pair, RANGES[name]) for name, pair in pairs.items()},
        uv_pixels(found.delta_uv, expected.delta_uv),
        found.not_finite,
        similarity,
    )


def compare_drawn(
    found: NetworkOutputs, expected: NetworkOutputs, compose: Callable[[NetworkOutputs], Bytes]
) -> Agreement:
    """Return `compare`, with the frames that `compose` makes of both."""
    return compare(found, expected, *(compose(results.drawable()) for results in (found, expected)))


def judge(
    agreement: Agreement, kind: Kind, thresholds: Thresholds = DEFAULT, bracket: Mapping[str, float] | None = None
) -> Ruling:
    """Hold the worst of some poses to its kind's thresholds, and return what broke them and what is only told.

    Args:
        agreement: with the truth. float32 may be judged without frames.
        kind: what it is held to.
        thresholds: for all kinds.
        bracket: for measured FP16 arithmetic or bfloat16, PSNR of each result by the emulation, its worse end; None
            where it is the emulation, or that was not run.
    """
    found = agreement.psnr_db
    broken = [f"{agreement.not_finite} numbers are not finite"] if agreement.not_finite else []
    warned: list[str] = []
    if kind == "fp32":
        for name, db in found.items():
            broken += _under(name, db, thresholds.fp32_frame_psnr if name == FRAME else thresholds.fp32_psnr)
    elif kind in ("fp16-hybrid", "w8a16", "w8a8"):  # what is stored in fewer bits shall not be seen
        for name in sorted(found.keys() - {"delta_uv", FRAME}):
            broken += _under(name, found[name], thresholds.fp16_hybrid_psnr)
        if not agreement.frame_ssim >= thresholds.fp16_hybrid_frame_ssim:
            broken.append(_ssim_under(agreement, thresholds.fp16_hybrid_frame_ssim))
        if not agreement.uv_pixels <= thresholds.fp16_hybrid_uv_pixels:
            off = f"{agreement.uv_pixels:.3g} px off"
            broken.append(f"delta_uv is {off}, expected at most {thresholds.fp16_hybrid_uv_pixels:g}")
    else:
        broken += _under(FRAME, found[FRAME], thresholds.reduced_floor)
        if not agreement.frame_ssim >= thresholds.reduced_warning_ssim:
            warned.append(_ssim_under(agreement, thresholds.reduced_warning_ssim))
        for name, end in (bracket or {}).items():
            least = min(end, thresholds.bracket_ceiling) - thresholds.below_bracket
            broken += _under(f"{name} (emulated: {end:.1f})", found[name], least)
    if broken:
        return Ruling("broken", tuple(broken))
    return Ruling("warned" if warned else "passed", tuple(warned))


def storage_excess(agreement: Agreement, thresholds: Thresholds = DEFAULT) -> float:
    """Return how far what is stored in fewer bits is over its gate: the worst error over what `judge` allows it.

    At most 1 passes; infinite where numbers are not finite. A search can bring it down, where a verdict says no more
    than yes or no.
    """
    if agreement.not_finite or math.isnan(agreement.frame_ssim):
        return math.inf
    stored = [db for name, db in agreement.psnr_db.items() if name not in ("delta_uv", FRAME)]
    over = [10 ** ((thresholds.fp16_hybrid_psnr - db) / 20) for db in stored]  # of errors, not of decibels
    over.append(agreement.uv_pixels / thresholds.fp16_hybrid_uv_pixels)
    over.append((1 - agreement.frame_ssim) / (1 - thresholds.fp16_hybrid_frame_ssim))
    return max(over)


def _ssim_under(agreement: Agreement, expected: float) -> str:
    return f"the frame's SSIM is {agreement.frame_ssim:.4f}, expected at least {expected:g}"


def _under(what: str, found: float, expected: float) -> list[str]:
    return [] if found >= expected else [f"{what} has {found:.1f} dB, expected at least {expected:.0f} dB"]
