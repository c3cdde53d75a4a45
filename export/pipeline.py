"""A photo to an avatar's bundle: the stages of `bilayer-export`, in order."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import onnx
from safetensors.numpy import save

from bilayer.export.bundle import BundleParts, draft_bundle, write_bundle
from bilayer.export.convert.host import PackageHost
from bilayer.export.convert.run import chosen_target
from bilayer.export.formats.onnx_file import OnnxFile
from bilayer.export.metadata import describe_contract, seal
from bilayer.export.network.equalize import equalize
from bilayer.export.network.fold import fold
from bilayer.export.network.layers import FoldedGenerator
from bilayer.export.network.lower import GraphOptions, lower
from bilayer.export.network.onnx_write import build_onnx
from bilayer.export.network.rewrite import MAX_KAPPA, fold_norms
from bilayer.export.options import ConversionTarget, ExportOptions, bundle_dlc, check_options
from bilayer.export.portraits import avatar_of, read_portraits
from bilayer.export.preview import draw_preview
from bilayer.export.targets import RULES_FOR, check_target, fits_deconvolution
from bilayer.export.verify import (
    HALF_POSES,
    NOT_VERIFIED,
    half_failure,
    hybrid_network,
    make_probes,
    onnx_network,
    verify,
    verify_bundle,
    verify_half,
)
from bilayer.model.avatar import Avatar
from bilayer.model.checkpoint import load_model
from bilayer.model.config import ModelConfig
from bilayer.model.lids import draw_lids
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.threads import THREADS, torch_threads
from bilayer.runtime.agreement import FRAME, Agreement
from bilayer.runtime.arrays import Bytes
from bilayer.runtime.bundle import Bundle, Contract, PhotoSource, PoseInput
from bilayer.runtime.command.extras import installed_versions
from bilayer.runtime.errors import InputError, ParityError, ToolMissingError
from bilayer.runtime.face.crop import cut_box
from bilayer.runtime.provenance import Graph, Origin
from bilayer.runtime.sampler.compositor import FrameCompositor
from bilayer.runtime.sampler.grid_sample import pack_texture

STAGES = (  # all but the reading of the photos, which comes first: 0.01 s a megapixel
    "checkpoint",
    "photo and face",
    "avatar",
    "fold and ONNX",
    "target rules",
    "verify",
    "preview",
    "convert and write",
)
PACKAGES = ("bilayer", "torch", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True, eq=False)
class Export:
    """A bundle that was written, and what there is to say of it."""

    bundle: Bundle
    warnings: list[str]
    seconds: dict[str, float]  # by stage
    not_converted: ToolMissingError | None  # why there is no .dlc, where its converter is not installed


@dataclass
class Stopwatch:
    """The seconds of each stage; `on_stage` is told each stage's name as it begins, `on_step` what a long one does."""

    on_stage: Callable[[str], None] = lambda name: None
    seconds: dict[str, float] = field(default_factory=dict)
    on_step: Callable[[str], None] = lambda what: None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        self.on_stage(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


@dataclass(frozen=True, eq=False)
class Trained:
    """A checkpoint's model, and the hash by which a bundle names it: what exports of many photos share.

    It is hashed while the avatar is made: of the medium model, 0.4 GB, that is 0.45 s, 6 % of an export.
    """

    model: BilayerModel
    hashed: Future[str]
    host: PackageHost | None = None  # see `ConvertOptions`

    @property
    def digest(self) -> str:
        """The sha256 of its settings and tensors, as soon as it is known."""
        return self.hashed.result()


@torch_threads()
def export_avatar(
    options: ExportOptions,
    watch: Stopwatch | None = None,
    trained: Trained | None = None,
    photos: Sequence[Bytes] | None = None,
) -> Export:
    """Write and check the bundle of a photo, and return what was made: photo -> crop -> avatar -> plain layers -> ONNX
    -> .dlc or .tflite.

    Args:
        options: what is exported, where to, and how.
        watch: is told of each stage.
        trained: what `load_trained` gave for the same checkpoint, where there are many photos.
        photos: what `check_options` gave, of whoever has asked it already.

    Raises:
        InputError: the photo, landmarks, checkpoint or place to write are not usable, or the target refuses the graph.
        ParityError: the exported network or the converted weights differ from the trained ones.
        ToolMissingError: a network that finds the face is not there. A missing converter is none: see `Export`.
    """
    watch = watch or Stopwatch()
    photos = check_options(options) if photos is None else photos
    with watch.stage("checkpoint"):
        shared = trained or load_trained(options)
    try:
        return _export(options, watch, shared, photos)
    finally:
        if trained is None:
            wait([shared.hashed])  # of an export that fails, too: no thread is left at work


def _export(options: ExportOptions, watch: Stopwatch, trained: Trained, photos: Sequence[Bytes]) -> Export:
    out, target = bundle_dlc(options.out), chosen_target(options)
    model = trained.model
    with watch.stage("photo and face"):
        portraits = read_portraits(options, model.config, photos)
        portrait, size = portraits[0], model.config.image_size
        frame_side = options.size or size
    with watch.stage("avatar"):
        avatar = avatar_of(model, portraits, options.refine, frame_side, options.warp)
        rest, align_corners = portrait.source.poses, model.config.align_corners
        drawn = options.lid_motion == "drawn"
        lids = draw_lids(avatar.texture, rest, avatar.at_rest.delta_uv, align_corners) if drawn else None
    with watch.stage("fold and ONNX"):
        origin = Origin(
            checkpoint=Path(options.checkpoint).name,
            checkpoint_sha256=trained.digest,
            trained=True,
            enhanced=avatar.refine == "updater",
            versions=package_versions(),
            refine=avatar.refine,
        )
        generator, graph = fold_avatar(model, avatar, options)
        pose = portrait.crop.pose
        texture = avatar.texture[0].numpy()
        # numpy's loops have the bytes of Numba's, whose start takes longer than these few frames
        compositor = FrameCompositor(texture, align_corners, size=frame_side, engine="numpy")
        given = PoseInput("pose", generator.input_width, _harmonics(model.config))
        described = describe_contract(
            given, generator.outputs, size, frame_side, align_corners, pose, pack_texture(texture)
        )
        versions = ", ".join(f"{package} {number}" for package, number in origin.versions.items())
        made_from = {"checkpoint_sha256": origin.checkpoint_sha256, "versions": versions}
        proto = build_onnx(generator, described | made_from, options.opset)
        seal(proto)
        further = _further(generator, described | made_from, target, options)
    integers, rounded = None, {}
    if options.precision != "fp32":
        from bilayer.export.integers import make  # not a default's

        with watch.stage("integers"):
            integers = make.make_integers(generator, options.precision, given, pose, compositor, watch.on_step)
            rounded = {options.precision: make.sealed_qdq(integers, described | made_from)}
    with watch.stage("target rules"):
        warnings = [concern for seen in portraits for concern in seen.concerns] + check_rules(proto, target)
        if further:
            from bilayer.export.further import check_further

            warnings += check_further(further, target)
    with draft_bundle(proto, out, target, rounded, trained.host) as draft:
        with watch.stage("verify"):
            network, verification = onnx_network(proto, given, generator.outputs), NOT_VERIFIED
            quantization = None if integers is None else make.describe_integers(integers)
            if options.verify:
                with torch_threads(1 if draft.conversion else THREADS):  # the converter has the other core
                    probes = make_probes(model, avatar, pose)
                results = [network.run(probe.pose) for probe in probes]
                verification = verify(probes, results, options.keep_norms)
                stored = hybrid_network(generator, given)
                half = verify_half(probes[:HALF_POSES], stored, compositor)
                verification = replace(
                    verification,
                    hybrid_frame_db=round(half.psnr_db[FRAME], 2),
                    hybrid_uv_pixels=round(half.uv_pixels, 4),
                )
                warnings += judge_half(half, target, options.keep_norms)
                if integers is not None:
                    in_integers = onnx_network(rounded[integers.precision], given, generator.outputs)
                    quantization = make.verify_integers(integers, in_integers, probes, compositor)
                if further:
                    from bilayer.export.further import verify_further

                    made = verify_further(further, generator, given, results, probes, compositor)
                    verification = replace(verification, **asdict(made))
        with watch.stage("preview"):
            crop = replace(portrait.crop, image=cut_box(portrait.photo, portrait.crop.box, frame_side))
            preview = draw_preview(crop, avatar, results[0] if options.verify else network.run(pose), align_corners)
        contract = partial(
            Contract,
            image_size=size,
            texture_size=frame_side,
            frame_size=frame_side,
            align_corners=align_corners,
            input=given,
            outputs=generator.outputs,
            source=PhotoSource(
                list(portrait.photo.shape[1::-1]), list(portrait.crop.box.corners), [float(number) for number in pose]
            ),
            graph=graph,
            verification=verification,
            origin=origin,
            quantization=quantization,
            lids=None if lids is None else lids.lids,
            anchors=avatar.anchors[0] if avatar.anchors else None,
        )
        with watch.stage("convert and write"):
            played = (
                (lambda bundle: verify_bundle(bundle, probes, avatar, align_corners, frame_side))
                if options.verify
                else None
            )
            pieces = {} if lids is None else {"lids": save(lids.pieces)}
            parts = BundleParts(contract, texture, preview, further | pieces)
            bundle, not_converted = write_bundle(parts, draft, played)
    return Export(bundle, warnings, watch.seconds, not_converted)


def _further(
    generator: FoldedGenerator, metadata: Mapping[str, str], target: ConversionTarget, options: ExportOptions
) -> dict[str, bytes]:
    if target != "litert" and not options.also:
        return {}
    from bilayer.export.further import wanted_files, write_further  # not a default's: LiteRT's schema takes 0.2 s

    return write_further(generator, metadata, wanted_files(target, options.also))


def load_checkpoint(options: ExportOptions) -> BilayerModel:
    """Return the model of the options' checkpoint, with their `align_corners` if any; errors are `load_model`'s."""
    overrides = {} if options.align_corners is None else {"align_corners": options.align_corners}
    return load_model(options.checkpoint, overrides=overrides)


def load_trained(options: ExportOptions) -> Trained:
    """Return `load_checkpoint`'s model with its hash; errors are those of `load_model`."""
    model, beside = load_checkpoint(options), ThreadPoolExecutor(1)
    hashed = beside.submit(checkpoint_hash, model)
    beside.shutdown(wait=False)
    return Trained(model, hashed)


def fold_avatar(model: BilayerModel, avatar: Avatar, options: ExportOptions) -> tuple[FoldedGenerator, Graph]:
    """Return the avatar's network as plain layers, and how it was simplified."""
    folded, norms = fold_norms(fold(model, avatar.parameters), max_kappa=0 if options.keep_norms else MAX_KAPPA)
    channels = model.config.inference_channels
    upsample = options.upsample or ("deconv" if all(fits_deconvolution(c, c) for c in channels[1:]) else "nearest")
    generator = equalize(lower(folded, GraphOptions(upsample=upsample, merged_head=options.merged_head)))
    gmacs = round(sum(generator.macs().values()) / 1e9, 4)
    return generator, Graph(options.opset, upsample, gmacs, list(norms.kept))


def check_rules(proto: onnx.ModelProto, target: ConversionTarget) -> list[str]:
    """Return what the target's rules warn of, a sentence each.

    Raises:
        InputError: a rule is broken that the conversion or the runtime would fail on.
    """
    if target == "none":
        return []
    findings = check_target(OnnxFile(proto), RULES_FOR[target])
    refused = [finding for finding in findings if finding.severity == "error"]
    if refused:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise InputError(f"{target} refuses the network: {refused[0].describe()}{more}")
    return [finding.describe() for finding in findings]


def judge_half(found: Agreement, target: ConversionTarget, keep_norms: bool) -> list[str]:
    """Return what FP16 would spoil, as a warning, in an avatar for no phone, whose runtimes compute in float32.

    Raises:
        ParityError: FP16 would change what is seen, in an avatar for a phone's GPU.
    """
    failure = half_failure(found, keep_norms)
    if failure and target != "none":
        raise ParityError(
            f"{failure}; --no-verify writes it all the same, and avatar.json says so (nothing was written)"
        )
    return [failure] if failure else []


def checkpoint_hash(model: BilayerModel) -> str:
    """Return the sha256 of the model's settings and tensors, the same however they were stored."""
    digest = hashlib.sha256(repr(model.config).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that an export's numbers depend on; ours is unknown in a source folder."""
    return dict.fromkeys(PACKAGES, "unknown") | installed_versions(PACKAGES)


def _harmonics(config: ModelConfig) -> int:
    return config.pse_num_harmonics if config.pse_use_harmonic_enc else 0
