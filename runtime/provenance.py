"""How an avatar was made, and what was compared: what avatar.json tells beyond what a player needs."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from bilayer.runtime.vocabulary import IntegerPrecision, Refine

Count = Annotated[int, Meta(ge=1)]
Index = Annotated[int, Meta(ge=0)]


@dataclass(frozen=True)
class DlcInfo:
    """What made the .dlc, and who reads it."""

    target: str
    tool: Annotated[str, Meta(description="with its version")]
    container: Annotated[int, Meta(description="3 or 4")]
    readable_by: str
    layout: Annotated[str, Meta(description="of its output tensors, NCHW or NHWC")]


@dataclass(frozen=True)
class Graph:
    """How the network was simplified."""

    opset: Count
    upsample: Annotated[str, Meta(description="nearest, deconv or phase")]
    gmacs: Annotated[float, Meta(ge=0, description="a frame")]
    norms_kept: Annotated[list[str], Meta(description="ill-conditioned ones, that stay as nodes")]


@dataclass(frozen=True)
class Verification:
    """What was compared with the trained model before the bundle was written."""

    verified: bool
    poses: Index
    psnr_db: Annotated[dict[str, float], Meta(description="ONNX Runtime in float32: of each result, the worst pose's")]
    hybrid_frame_db: Annotated[
        float | None, Meta(description="emulated FP16 storage: of the 8-bit RGBA frame, the worst")
    ]
    hybrid_uv_pixels: Annotated[float | None, Meta(description="likewise: the warp's largest error, texture pixels")]
    litert_db: Annotated[
        float | None,
        Meta(description="the .tflite in LiteRT against ONNX Runtime: the worst result and pose; left out without one"),
    ] = None
    litert_fp16_frame_db: Annotated[
        float | None,
        Meta(description="the .tflite with weights in FP16: of the 8-bit RGBA frame, the worst; left out without one"),
    ] = None
    executorch_db: Annotated[
        float | None,
        Meta(description="the .pte for XNNPACK against ONNX Runtime, as litert_db; left out without one"),
    ] = None


@dataclass(frozen=True)
class Quantization:
    """How the network in integers was made, which is that of the .dlc; the .onnx beside it stays in float32."""

    precision: Annotated[IntegerPrecision, Meta(description="bits of weights and of what lies between layers")]
    wide: Annotated[list[str], Meta(description="layers whose weights have 16 bits, as two of 8")]
    frame_db: Annotated[
        float | None, Meta(description="of the 8-bit frame against the trained model, the worst pose's")
    ]
    uv_pixels: Annotated[float | None, Meta(description="likewise: the warp's largest error, texture pixels")]
    equalized: Annotated[
        bool | None, Meta(description="true: hidden channels were scaled before they were rounded; or left out")
    ] = None


@dataclass(frozen=True)
class Origin:
    """What the avatar was made from and with."""

    checkpoint: Annotated[str, Meta(description="its file name, or what it is")]
    checkpoint_sha256: Annotated[str, Meta(description="of all its tensors")]
    trained: Annotated[bool, Meta(description="false: random numbers, for trying the tools")]
    enhanced: Annotated[bool, Meta(description="the texture went through the enhancer")]
    versions: dict[str, str]
    refine: Annotated[
        Refine | None, Meta(description="how the texture was refined; left out by versions before 0.3: see enhanced")
    ] = None

    @property
    def refined_by(self) -> Refine:
        """How the texture was refined, in bundles of every version."""
        return self.refine or ("updater" if self.enhanced else "none")
