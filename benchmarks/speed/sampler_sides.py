"""The texture warp and the frame as other libraries do them: what sampler.py times, each in the one thread it gives.

Inputs are prepared outside the timed functions in the layout that a library likes best, and outputs go to buffers of
the caller's where it takes any.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.engines.onnx_runtime import make_session
from bilayer.runtime.sampler.compositor import FrameCompositor
from bilayer.runtime.sampler.grid_sample import Sampler, pack_texture

TEXTURE_SIZE = 256  # px, the paper's; and of a network's results, where frames are larger
OURS = "ours"


@dataclass(frozen=True)
class Side:
    """One way to compute the sampler's result."""

    name: str
    run: Callable[[], Any]
    result: Callable[[Any], NDArray[Any]] | None  # what `run` returns -> (3, h, w) samples or (h, w, 4) bytes


@dataclass(frozen=True, eq=False)
class Case:
    """A smooth warp of a noisy texture; align_corners False."""

    size: int  # px, output
    texture: Floats  # (3, T, T)
    delta_uv: Floats  # (2, h, w), about a head turn: 6 px of 256
    uv: Floats  # (h, w, 2), identity + delta_uv
    lf_rgb: Floats  # (3, h, w)
    mask: Floats  # (h, w)


def make_case(size: int, results: int | None = None) -> Case:
    """Return a case of random numbers, the same for the same sizes.

    `results` is the side of delta_uv, uv, lf_rgb and mask where a frame is larger than they are; its texture then has
    the frame's side, else TEXTURE_SIZE.
    """
    rng = np.random.default_rng(0)
    side, texture_size = results or size, size if results else TEXTURE_SIZE
    texture = rng.uniform(-1, 1, (3, texture_size, texture_size)).astype(np.float32)
    centres = (2 * np.arange(side, dtype=np.float32) + 1) / side - 1
    x, y = np.meshgrid(centres, centres)
    delta_uv = np.stack([0.05 * np.sin(3 * x + 2.5 * y), 0.05 * np.cos(3.2 * y - 3 * x)]).astype(np.float32)
    lf_rgb = rng.uniform(-0.7, 0.7, (3, side, side)).astype(np.float32)
    mask = rng.uniform(0, 1, (side, side)).astype(np.float32)
    return Case(size, texture, delta_uv, np.stack([x + delta_uv[0], y + delta_uv[1]], axis=-1), lf_rgb, mask)


def warp_sides(case: Case) -> Iterator[Side]:
    """Yield the sides of the plain warp, (3, h, w) float32, ours first."""
    size = case.size
    planar = np.ascontiguousarray(np.moveaxis(case.uv, -1, 0))
    out = np.empty((3, size, size), np.float32)
    ours = Sampler(case.texture, align_corners=False, grid_layout="planar")
    yield Side(OURS, lambda: ours.sample(planar, out), np.asarray)
    torchlike = Sampler(case.texture, align_corners=False)
    yield Side("ours, interleaved grid as torch's", lambda: torchlike.sample(case.uv, out), np.asarray)
    yield from _torch_warp(case)
    yield from _opencv_warps(case)
    yield from _onnxruntime_warp(case)
    numpy = Sampler(case.texture, align_corners=False, grid_layout="planar", engine="numpy")
    yield Side("numpy (ours without Numba)", lambda: numpy.sample(planar, out), np.asarray)
    yield from _scipy_warp(case)
    yield _memory_copy(case, bytes_per_pixel=8 + 12)


def frame_sides(case: Case) -> Iterator[Side]:
    """Yield the sides of the whole frame, (h, w, 4) uint8, straight alpha, ours first.

    Of smaller results, which the other sides resize first, ours on the way, it is measured in fewer ways.
    """
    frame = np.empty((case.size, case.size, 4), np.uint8)
    inputs = case.delta_uv, case.lf_rgb, case.mask
    resizes = case.mask.shape[0] != case.size
    compositor = partial(FrameCompositor, case.texture, align_corners=False, size=case.size if resizes else None)
    ours = compositor()
    yield Side(OURS, lambda: ours.render(*inputs, frame), np.asarray)
    if not resizes:
        two = compositor(threads=2)
        yield Side("ours, 2 threads: wall counts", lambda: two.render(*inputs, frame), np.asarray)
    swapped = compositor(layout="interleaved")
    delta_uv, lf_rgb = (np.ascontiguousarray(np.moveaxis(array, 0, -1)) for array in inputs[:2])
    yield Side("ours, interleaved inputs", lambda: swapped.render(delta_uv, lf_rgb, case.mask, frame), np.asarray)
    if not resizes:
        white = compositor(background=(255, 255, 255))
        yield Side("ours, over white", lambda: white.render(*inputs, frame), None)
    yield from _torch_frame(case)
    yield _opencv_frame(case)
    numpy = compositor(engine="numpy")
    yield Side("numpy (ours without Numba)", lambda: numpy.render(*inputs, frame), np.asarray)
    yield _memory_copy(case, 4, 8 + 12 + 4) if resizes else _memory_copy(case, 8 + 12 + 4 + 4)


def exact_resized_frame(case: Case) -> Bytes:
    """Return (h, w, 4) in float64 of smaller results."""
    import torch

    planes = np.concatenate([case.delta_uv, case.lf_rgb, case.mask[None]]).astype(np.float64)
    large = torch.nn.functional.interpolate(torch.from_numpy(planes)[None], size=(case.size,) * 2, mode="bilinear")
    delta_uv, lf_rgb, mask = np.split(large[0].numpy(), (2, 5))
    centres = (2 * np.arange(case.size) + 1) / case.size - 1
    uv = np.stack(np.meshgrid(centres, centres), axis=-1) + np.moveaxis(delta_uv, 0, -1)
    return exact_frame(replace(case, uv=uv, lf_rgb=lf_rgb, mask=mask[0]))


def exact_warp(case: Case) -> NDArray[np.float64]:
    """Warp by torch in float64, and return it: (3, h, w)."""
    import torch

    uv, texture = (torch.from_numpy(array.astype(np.float64))[None] for array in (case.uv, case.texture))
    exact: NDArray[np.float64] = torch.nn.functional.grid_sample(texture, uv, align_corners=False)[0].numpy()
    return exact


def exact_frame(case: Case) -> Bytes:
    """Return (h, w, 4) in float64: the published display, straight alpha."""
    levels = ((case.lf_rgb + exact_warp(case)).clip(-1, 1) + 1) / 2 * 255
    return np.dstack([*levels, (case.mask.astype(np.float64) * 255).round()]).astype(np.uint8)


def _torch_warp(case: Case) -> Iterator[Side]:
    import torch

    texture, uv = torch.from_numpy(case.texture)[None], torch.from_numpy(case.uv)[None]
    sample = torch.nn.functional.grid_sample

    def run() -> torch.Tensor:
        with torch.inference_mode():
            return sample(texture, uv, align_corners=False)

    yield Side("torch grid_sample", run, lambda result: result[0].numpy())


def _torch_frame(case: Case) -> Iterator[Side]:
    import torch
    from torch.nn.functional import interpolate

    inputs = case.texture, case.delta_uv, case.lf_rgb, case.mask[None]
    texture, *results = (torch.from_numpy(np.ascontiguousarray(array))[None] for array in inputs)
    centres = (2 * torch.arange(case.size) + 1) / case.size - 1
    identity = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)[None]

    def resized() -> Iterator[torch.Tensor]:
        for planes in results:
            same = planes.shape[-1] == case.size
            yield planes if same else interpolate(planes, size=(case.size, case.size), mode="bilinear")

    def warped(delta_uv: torch.Tensor) -> torch.Tensor:
        uv = identity + delta_uv.permute(0, 2, 3, 1)
        return torch.nn.functional.grid_sample(texture, uv, align_corners=False)

    def rgba(levels: torch.Tensor, opacity: torch.Tensor) -> torch.Tensor:
        return torch.cat([levels, opacity], dim=1).to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def run() -> torch.Tensor:
        with torch.inference_mode():
            delta_uv, lf_rgb, mask = resized()
            image = lf_rgb + warped(delta_uv)
            return rgba((image.clamp(-1, 1) + 1) / 2 * 255, (mask * 255).round())

    def run_in_place() -> torch.Tensor:
        with torch.inference_mode():
            delta_uv, lf_rgb, mask = resized()
            return rgba(warped(delta_uv).add_(lf_rgb).clamp_(-1, 1).add_(1).mul_(127.5), (mask * 255).round_())

    yield Side("torch pipeline", run, lambda result: result[0].numpy())
    yield Side("torch pipeline, in place", run_in_place, lambda result: result[0].numpy())


def _opencv_warps(case: Case) -> Iterator[Side]:
    import cv2

    texture = np.ascontiguousarray(np.moveaxis(case.texture, 0, -1))
    u: Any
    v: Any
    u, v = (np.ascontiguousarray(case.uv[..., c]) for c in (0, 1))
    out = np.empty((case.size, case.size, 3), np.float32)
    scale: Any = TEXTURE_SIZE / 2  # cv2 takes a number for an array; its types do not
    shift = (TEXTURE_SIZE - 1) / 2

    def maps() -> tuple[Any, Any]:
        return cv2.multiply(u, scale) + shift, cv2.multiply(v, scale) + shift

    x, y = maps()
    fixed: Any = cv2.convertMaps(x, y, cv2.CV_16SC2)

    def remap(first: Any, second: Any) -> Any:
        return cv2.remap(texture, first, second, cv2.INTER_LINEAR, dst=out)

    def planar(result: NDArray[Any]) -> NDArray[Any]:
        return np.moveaxis(result, -1, 0)

    yield Side("cv2.remap, float maps ready", lambda: remap(x, y), planar)
    yield Side("cv2.remap, map arithmetic too", lambda: remap(*maps()), planar)
    yield Side("cv2.remap, fixed maps ready", lambda: remap(*fixed), planar)
    yield Side("cv2.remap, convertMaps too", lambda: remap(*cv2.convertMaps(x, y, cv2.CV_16SC2)), planar)


def _opencv_frame(case: Case) -> Side:
    import cv2

    size, side = case.size, case.texture.shape[-1]
    scale = side / 2
    texture = np.ascontiguousarray(np.moveaxis(case.texture, 0, -1))
    centres = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(side / size) - np.float32(0.5)
    x0, y0 = (np.ascontiguousarray(array) for array in np.meshgrid(centres, centres))
    warped, frame = np.empty((size, size, 3), np.float32), np.empty((size, size, 4), np.uint8)

    def resized(plane: Any) -> Any:
        return plane if plane.shape[0] == size else cv2.resize(plane, (size, size), interpolation=cv2.INTER_LINEAR)

    def run() -> Any:
        x = cv2.scaleAdd(resized(case.delta_uv[0]), scale, x0)
        y = cv2.scaleAdd(resized(case.delta_uv[1]), scale, y0)
        cv2.remap(texture, x, y, cv2.INTER_LINEAR, dst=warped)
        image = cv2.add(cv2.merge([resized(plane) for plane in case.lf_rgb]), warped)
        np.clip(image, -1, 1, out=image)
        frame[..., :3] = (image + 1) * 127.5
        frame[..., 3] = resized(case.mask) * 255 + 0.5
        return frame

    return Side("cv2 + numpy pipeline", run, np.asarray)


def _onnxruntime_warp(case: Case) -> Iterator[Side]:
    from onnx import TensorProto, helper

    names = {"x": [1, 3, TEXTURE_SIZE, TEXTURE_SIZE], "grid": [1, case.size, case.size, 2]}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in names.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, case.size, case.size])
    node = helper.make_node("GridSample", ["x", "grid"], ["y"], align_corners=0, mode="bilinear", padding_mode="zeros")
    graph = helper.make_graph([node], "grid_sample", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    session = make_session(model.SerializeToString(), threads=1)
    feeds = {"x": case.texture[None], "grid": case.uv[None]}
    yield Side("ONNX Runtime GridSample", lambda: session.run(None, feeds), lambda results: results[0][0])


def _scipy_warp(case: Case) -> Iterator[Side]:
    try:
        from scipy.ndimage import map_coordinates  # type: ignore[import-untyped]
    except ImportError:
        return  # comes with scikit-image, which only development needs
    rows_columns = np.moveaxis(case.uv[..., ::-1] * (TEXTURE_SIZE / 2) + (TEXTURE_SIZE - 1) / 2, -1, 0)
    out = np.empty((3, case.size, case.size), np.float32)

    def run() -> Floats:
        for plane, result in zip(case.texture, out, strict=True):
            map_coordinates(plane, rows_columns, order=1, mode="grid-constant", output=result)
        return out

    yield Side("scipy map_coordinates", run, np.asarray)


def _memory_copy(case: Case, bytes_per_pixel: int, bytes_per_result: int = 0) -> Side:
    """Nobody can be quicker: the bytes that must be read and written, half of them each."""
    total = case.size**2 * bytes_per_pixel + case.mask.size * bytes_per_result + pack_texture(case.texture).nbytes
    source, target = (np.ones(total // 2, np.uint8) for _ in range(2))
    return Side("memcpy of as many bytes", lambda: np.copyto(target, source), None)
