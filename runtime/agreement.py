"""What each way to run an avatar must reach: the export refuses by it, and the parity ladder judges by it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Against the truth, the worst pose's."""

    float32_psnr: float = 100.0  # dB of each result; float32's own rounding leaves about 117
    float32_frame_psnr: float = 60.0  # dB of the 8-bit frame: one value in 15 may fall on the other side of a level
    hybrid_frame_psnr: float = 60.0  # dB
    hybrid_uv_pixels: float = 0.25  # texture pixels
    arithmetic_warning: float = 45.0  # dB of the frame
    # FP16 arithmetic is a bracket, and no number of it is right or wrong. Under this there is no picture left of it:
    # sequential sums of wild random weights reach 31
    arithmetic_floor: float = 20.0  # dB of the frame
    # A measured FP16 or bfloat16 that is this much worse than the emulation's worse end computes something else
    below_bracket: float = 10.0  # dB of a result
    bracket_ceiling: float = 80.0  # dB: an emulation beyond counts as this, for a frame of 8 bits shows none of it


DEFAULT = Thresholds()
