"""An avatar's bundle and a pose -> the frame. Neither torch nor onnx is needed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from bilayer.runtime.anchors.mover import WarpMover
from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.bundle import Bundle, Contract, read_bundle
from bilayer.runtime.engines.base import NetworkEngine
from bilayer.runtime.engines.load import load_engine
from bilayer.runtime.errors import BundleError, InputError
from bilayer.runtime.files.reading import FileKind, checked
from bilayer.runtime.frame import NetworkOutputs
from bilayer.runtime.lids import LidPainter
from bilayer.runtime.sampler.compositor import Alpha, FrameCompositor, resize_outputs
from bilayer.runtime.sampler.grid_sample import MAX_CHANNELS, PADDING, Sampler
from bilayer.runtime.vocabulary import EngineName, Precision

if TYPE_CHECKING:
    from bilayer.runtime.motion.track import Track

COMPOSING = 2  # threads, left idle by the network: 1 ms for a frame of 512 px, 1.7 on one; more were not measured


@dataclass(frozen=True, eq=False)
class FrameLayers:
    """What a frame is made of."""

    uv: Floats  # (F, F, 2) x, y where the texture is sampled: -1..1 across it, may leave it
    lf: Floats  # (3, F, F) the low-frequency layer, -1..1
    hf: Floats  # (3, F, F) the texture sampled at uv, about -1..1
    mask: Floats  # (F, F) foreground, 0..1; ones where the network has none


class AvatarPlayer:
    """An avatar, ready to be driven; `load` makes it. Not for use by several threads at once.

    A pose is 68 landmarks, (136,) as x0, y0, x1, y1, ... or (68, 2): -1..1 across the crop, not clipped, x right and y
    down, as `crop_face` gives them.

    Attributes:
        bundle: what it was loaded from.
        size: F, the frames' side in pixels.
        source_pose: (136,), the pose of the photo that it was made from.
        engine: "onnxruntime", "openvino", "ncnn", "ncnn-vulkan" or the name of your own.
        precision: "fp32", "bf16" or "fp16", which the network computes in.
        outputs: what the network gave for the last pose; the same arrays for every pose.
    """

    def __init__(
        self,
        bundle: Bundle,
        network: NetworkEngine,
        texture: Floats,
        compositor: FrameCompositor,
        lids: LidPainter | None = None,  # of that texture, which the compositor reads
    ) -> None:
        contract = bundle.contract
        self.bundle, self.size = bundle, compositor.size[0] if compositor.size else contract.image_size
        self.engine, self.precision = network.name, network.precision
        self.source_pose: Floats = np.array(contract.source.pose, np.float32)
        self._network, self._texture, self._compositor, self._lids = network, texture, compositor, lids
        compiled = compositor.engine == "numba"
        self._mover = WarpMover(contract.anchors, contract.image_size, compiled=compiled) if contract.anchors else None
        self._pose: Floats = self.source_pose
        self.outputs = network.run(self.source_pose)  # the first run is the slow one

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        engine: EngineName | Callable[[Path, Contract], NetworkEngine] = "auto",
        precision: Precision = "fp32",
        threads: int | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        alpha: Alpha = "straight",
        background: ArrayLike | None = None,
        size: int | None = None,
    ) -> "AvatarPlayer":
        """Open a bundle: its folder, or its avatar.json.

        Args:
            path: of the bundle.
            engine: what runs the network; "auto" is the quickest installed one. Or what makes one of your own, given
                the .onnx and the content of avatar.json; then `precision`, `threads` and `providers` are its affair.
            precision: of the network. The frame is composed in float32 in any case.
            threads: of the network; None lets the engine choose. The frame is composed by two of them at most.
            providers: ONNX Runtime's execution providers, the preferred one first.
            alpha: "straight" colours, or "premultiplied" by the mask.
            background: None for a transparent one, a colour (r, g, b), or a picture (F, F, 3) uint8; frames are opaque
                then.
            size: F, the frames' side in pixels; None: that of the bundle.

        Raises:
            BundleError: no bundle, or a damaged or contradictory one; names the file and the field.
            InputError: an unknown choice, no such size, a background of another one, or a precision that cannot be had.
            ConversionError: the network is none that ncnn, asked for, can run.
            ToolMissingError: the engine is not installed.
        """
        bundle = read_bundle(path)
        contract = bundle.contract
        texture = read_texture(bundle)
        lids = read_lids(bundle, texture)
        size = contract.frame_size if size is None else size
        backdrop = None if background is None else np.asarray(background)
        if backdrop is not None and backdrop.ndim == 3 and backdrop.shape[:2] != (size, size):
            raise InputError(f"background: {backdrop.shape[1::-1]} px wide and high, the frame {(size, size)}")
        workers = COMPOSING if threads is None else min(threads, COMPOSING)
        compositor = FrameCompositor(
            texture, contract.align_corners, alpha=alpha, background=backdrop, size=size, threads=workers
        )
        onnx = bundle.path(contract.files.onnx)
        if callable(engine):
            return cls(bundle, engine(onnx, contract), texture, compositor, lids)
        network = load_engine(onnx, contract, engine, precision, threads=threads, providers=providers)
        return cls(bundle, network, texture, compositor, lids)

    def render(self, pose: ArrayLike, out: Bytes | None = None) -> Bytes:
        """Render one frame. With `out` nothing is allocated.

        Args:
            pose: (136,) or (68, 2).
            out: (F, F, 4) C-contiguous, written and returned; by default a new array.

        Returns:
            (F, F, 4) RGBA.

        Raises:
            LandmarkError: another shape, NaN or infinite values.
            InputError: an `out` of another shape.
        """
        self.infer(pose)
        return self.compose(out)

    def infer(self, pose: ArrayLike) -> None:
        """Do the first half of `render`, the network and the lids: for those who time or schedule the halves apart."""
        self.outputs, self._pose = self._network.run(pose), np.array(pose, np.float32)  # the caller may write over it
        if self._lids is not None:
            self._lids.show(pose)

    def compose(self, out: Bytes | None = None) -> Bytes:
        """Do the second half of `render`, and return it: the frame of the pose that `infer` was last given."""
        return self._compositor.compose(self._moved(self.outputs), out)

    def frames(self, poses: "Track | Iterable[ArrayLike]", out: Bytes | None = None) -> Iterator[Bytes]:
        """Yield frames (F, F, 4), as they come. With `out` it is the same array every time.

        Args:
            poses: as `render` takes them; or a track of anybody's face, which moves the avatar's own as `driving_poses`
                does. One that begins with the avatar's own pose, as `demo_motion`, is taken as it is.
            out: as of `render`.

        Raises:
            LandmarkError: as `render` and `driving_poses` do.
            InputError: an `out` of another shape.
        """
        from bilayer.runtime.motion.retarget import driving_poses
        from bilayer.runtime.motion.track import Track

        if isinstance(poses, Track):
            own = np.array_equal(poses.landmarks[0].ravel(), self.source_pose)
            poses = poses.landmarks if own else driving_poses(self.source_pose, poses)
        for pose in poses:
            yield self.render(pose, out)

    def render_batch(self, poses: ArrayLike, out: Bytes | None = None) -> Bytes:
        """Return the frames (T, F, F, 4) of poses (T, 136) or (T, 68, 2), one by one; into `out` or a new array.

        Raises:
            LandmarkError: another shape, NaN or infinite values.
            InputError: an `out` of another shape or type.
        """
        batch = list(np.asarray(poses))
        shape = (len(batch), self.size, self.size, 4)
        if out is None:
            out = np.empty(shape, np.uint8)
        elif out.shape != shape:
            raise InputError(f"out: expected {shape}, found {out.shape}")
        for pose, frame in zip(batch, out, strict=True):
            self.render(pose, frame)
        return out

    def layers(self, pose: ArrayLike | None = None) -> FrameLayers:
        """Return what a frame is made of, in new arrays: for looking at, some times slower than `render`.

        Args:
            pose: the frame's; None for that of the last frame, whose network is not run again.

        Raises:
            LandmarkError: as `render` does.
        """
        if pose is not None:
            self.infer(pose)
        inner = self._texture[1 : 1 - PADDING, 1 : 1 - PADDING, :3]
        sampler = Sampler(inner, self.bundle.contract.align_corners, texture_layout="interleaved")
        centres = ((2 * np.arange(self.size) + 1) / self.size - 1).astype(np.float32)
        outputs = resize_outputs(self._moved(self.outputs.drawable()), self.size, self.size)
        delta = outputs.delta_uv
        uv = np.stack([delta[0] + centres, delta[1] + centres[:, None]], axis=-1)
        mask = np.ones(uv.shape[:2], np.float32) if outputs.seg is None else np.clip(outputs.seg[0], 0, 1)
        return FrameLayers(uv, outputs.lf_rgb, sampler.sample(uv), mask)

    def _moved(self, outputs: NetworkOutputs) -> NetworkOutputs:
        return outputs if self._mover is None else self._mover.move(outputs, self._pose)


def read_texture(bundle: Bundle) -> Floats:
    """Return the texture of a bundle, packed for the sampler: (T + 3, T + 3, 4).

    Raises:
        BundleError: another shape or type than the contract's, no border of zeros, or values that are not finite.
    """
    path = bundle.path(bundle.contract.files.texture)
    side = bundle.contract.texture_size + PADDING
    texture = _read_tensors(path, {"texture": (side, side, MAX_CHANNELS)})["texture"]
    edges = (texture[0], texture[-2:], texture[:, 0], texture[:, -2:])
    if any(edge.any() for edge in edges):
        raise BundleError(f"{path}: texture: expected a border of zeros; export the avatar again")
    return texture


def read_lids(bundle: Bundle, texture: Floats) -> LidPainter | None:
    """Return what shuts the eyes in a bundle's packed `texture`, in place; None where the network does.

    Raises:
        BundleError: pieces of another shape or type than the contract's, beyond the texture, or one eye's for both.
    """
    lids, file = bundle.contract.lids, bundle.contract.files.lids
    if lids is None or file is None:
        return None
    path, side = bundle.path(file), bundle.contract.texture_size
    if lids.eyes[0].tensor == lids.eyes[1].tensor:
        raise BundleError(f"{path}: {lids.eyes[0].tensor[:40]}: one tensor for both eyes; export the avatar again")
    for eye in lids.eyes:
        if max(eye.left + eye.width, eye.top + eye.height) > side:
            raise BundleError(
                f"{path}: {eye.tensor[:40]}: beyond the texture of {side} texels; export the avatar again"
            )
    shapes = {eye.tensor: (lids.levels, eye.height, eye.width, MAX_CHANNELS) for eye in lids.eyes}
    pieces = _read_tensors(path, shapes)
    return LidPainter(lids, [pieces[eye.tensor] for eye in lids.eyes], texture, bundle.contract.source.pose)


def _read_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
    """The tensors of a .safetensors file, which are to be these, in float32 and finite."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(checked(path, FileKind.TEXTURE, BundleError), framework="np") as file:
            names = list(file.keys())
            found = {name: file.get_slice(name) for name in names}
            stored = {name: f"{part.get_dtype()} {list(part.get_shape())}" for name, part in found.items()}
            expected = {name: f"F32 {list(shape)}" for name, shape in shapes.items()}
            if stored != expected:
                told, wanted = (
                    ", ".join(f"{name[:40]} {kind[:60]}" for name, kind in sorted(kinds.items())[:4]) or "nothing"
                    for kinds in (stored, expected)
                )
                raise BundleError(f"{path}: expected {wanted}, found {told}; export the avatar again")
            tensors: dict[str, Floats] = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path}: not a .safetensors file ({error}); export the avatar again") from error
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise BundleError(f"{path}: {name[:40]}: holds values that are not finite; export the avatar again")
    return tensors
