"""Words that commands, settings and functions share, each for one choice; loads no library, so that --help need not."""

from typing import Any, Literal, TypeVar, get_args

from bilayer.runtime.errors import InputError

Choice = TypeVar("Choice", bound=str)

EngineName = Literal["auto", "onnxruntime", "openvino", "ncnn", "ncnn-vulkan", "litert"]
LandmarkerName = Literal["mediapipe", "face-alignment"]
PictureFormat = Literal["jpg", "png"]
Split = Literal["train", "test"]
TensorLayout = Literal["auto", "nchw", "nhwc"]  # of raw files; auto recognises it
RetargetMode = Literal["absolute", "relative", "procrustes"]

# What is done to the network's texture: fitted to the photo, or a few steps of the paper's updater
Refine = Literal["fit", "updater", "none"]
LidMotion = Literal["drawn", "network"]  # who moves the lids
WarpMotion = Literal["anchored", "network"]  # who has the last word on where the texture is sampled

# What a network computes in. FP16 hybrid stores in fp16 and sums in fp32, SNPE's GPU_FLOAT32_16_HYBRID
Precision = Literal["fp32", "bf16", "fp16", "w8a16", "w8a8"]
DevicePrecision = Literal["fp32", "fp16-hybrid", "fp16"]
IntegerPrecision = Literal["w8a16", "w8a8"]  # bits of weights and of what lies between layers

LOOPBACK = ("127.0.0.1", "localhost", "::1")  # names of this machine alone
SDK_HOST = "x86_64-linux-clang"  # the Qualcomm SDKs' folders of Linux programs and libraries
DEFAULT_FPS = 25.0  # of what does not say; VoxCeleb2's, which the published model is trained on
ANY_CAMERA = "any"  # a virtual one, whichever there is
LANDMARK_SUFFIXES = (".npy", ".json", ".csv", ".pts")  # of 68 points
TRACK_SUFFIXES = (".npy", ".npz", ".json")
PAGE_SUFFIXES = (".html", ".htm")
VIDEO_SUFFIXES = (".mp4", ".gif", "")  # that are written; without one a folder of PNGs
PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"),
)

# Words of other tools, and of this one before: whoever gives one is told the word here
RENAMED = {
    **dict.fromkeys(("f32", "float32"), "fp32"),
    **dict.fromkeys(("f16", "float16", "half"), "fp16"),
    "hybrid": "fp16-hybrid",
    "bfloat16": "bf16",
    "gpu_float16": "gpu-fp16",
    "gpu_hybrid": "gpu-fp16-hybrid",
    "ncnn_cpu": "ncnn-cpu",
    "ncnn_cpu_fp16": "ncnn-cpu-fp16",
    "ncnn_vulkan": "ncnn-vulkan",
    "ncnn_vulkan_hybrid": "ncnn-vulkan-fp16-hybrid",
    "ncnn_vulkan_fp16": "ncnn-vulkan-fp16",
}


def checked_word(value: Choice, choices: Any, name: str) -> Choice:
    """Return `value`, if it is one of a Literal's, else an InputError; `name` says what it is for."""
    if value not in get_args(choices):
        raise InputError(f"{name}: expected one of {', '.join(get_args(choices))}; found {value!r}")
    return value
