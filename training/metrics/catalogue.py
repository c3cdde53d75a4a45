"""The metrics by name, in the order of the tables."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A metric's name, and how tables show its values."""

    name: str  # in JSON
    heading: str  # in tables; the arrow tells which way is better
    digits: int  # behind the point


METRICS = {
    metric.name: metric
    for metric in (
        Metric("lpips", "LPIPS↓", 3),
        Metric("ssim", "SSIM↑", 3),
        Metric("csim", "CSIM↑", 3),
        Metric("nme_x10", "NME×10↓", 3),  # as the paper's tables have it
        Metric("nme", "NME↓", 4),
        Metric("pose_error", "pose error↓", 4),
        Metric("mouth_error", "mouth↓", 4),
        Metric("eye_error", "eyes↓", 4),
        Metric("l1", "L1↓", 4),
        Metric("psnr", "PSNR↑", 2),
        Metric("perception", "EffNet-Lite0↓", 3),
        Metric("sharpness", "sharpness→1", 2),
        Metric("identity_csim", "CSIM↑", 3),  # by dlib, whose numbers are not ArcFace's
        Metric("identity_distance", "distance↓", 3),
    )
}
LANDMARK_METRICS = ("nme_x10", "nme", "pose_error", "mouth_error", "eye_error")
IDENTITY_METRICS = ("identity_csim", "identity_distance")
EXPRESSION_METRICS = ("mouth_error", "eye_error")
