"""Folders of frames, of any method: compared with the true ones by file name."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.face.landmark_files import read_landmarks
from bilayer.runtime.files.arrays import npy_bytes
from bilayer.training.evaluate.cases import EvaluationCase, scaled_landmarks
from bilayer.training.evaluate.frame_folder import FrameFolder, Opened, open_folders
from bilayer.training.evaluate.models import MEANS_NOTE, join_scores
from bilayer.training.evaluate.result import EvaluationResult, MethodResult
from bilayer.training.metrics.meter import Meter, Scores, remove_background

FRAMES_AT_ONCE = 32  # bounds memory


def evaluate_frames(
    methods: Mapping[str, Path],
    truth: Path,
    meter: Meter | None = None,
    masks: Path | None = None,
    drive: Path | None = None,
    opened: Opened | None = None,
) -> EvaluationResult:
    """Return how every method's frames score against those in `truth`, at any depth, of the same name, suffix aside.

    Args:
        methods: the folder of each, by its name in the tables.
        truth: the folder of true frames: all of them must be there in every method's folder; what that holds beyond
            them does not count.
        meter: by which metrics; without one, by those that need no network.
        masks: folder of pictures of the same names, white where the person is; the rest is painted black in truth
            and result. Without it frames are compared whole.
        drive: folder of the landmarks that drove the methods (68 points; .npy), for the pose error.
        opened: what `open_folders` gave of these folders, of whoever has asked it already.

    Raises:
        InputError: a folder or a frame is missing, damaged, or of another size.
    """
    meter = meter or Meter()
    true_frames, folders, mask_frames = opened or open_folders(methods, truth, masks, drive)
    size = true_frames.read(true_frames.names[0]).shape
    scores: dict[str, list[Scores]] = {method: [] for method in methods}
    faces = 0
    for start in range(0, len(true_frames.names), FRAMES_AT_ONCE):
        group = true_frames.names[start : start + FRAMES_AT_ONCE]
        covers = [None if mask_frames is None else mask_frames.read_mask(name, size) for name in group]
        points = None if drive is None else [read_landmarks(drive / f"{name}.npy") for name in group]
        seen = meter.prepare_truth(_read_masked(true_frames, group, covers, size), points, covers)
        faces += sum(found is not None for found in seen.landmarks)
        for method, folder in folders.items():
            scores[method].append(meter.score(_read_masked(folder, group, covers, size), seen))
    unavailable = dict(meter.unavailable)
    if drive is None:
        unavailable.setdefault("pose_error", "needs the landmarks that drove the methods (--drive)")
        if "nme" in unavailable:
            unavailable.setdefault("csim", "needs to know where the faces are: --drive, or the face detector")
    return EvaluationResult(
        methods=tuple(MethodResult(method, join_scores(parts)) for method, parts in scores.items()),
        frames=len(true_frames.names),
        identities=None,
        faces_in_truth=None if "nme" in unavailable else faces,
        unavailable=unavailable,
        notes=_notes(truth, masks),
    )


def save_case(
    folder: Path, case: EvaluationCase, truths: Sequence[Bytes], pictures: Mapping[str, Sequence[Bytes]]
) -> None:
    """Write one identity's frames into a draft as `evaluate_frames` reads them: KIND/PERSON-VIDEO-SEQUENCE/FRAME.png.

    KIND is `truth`, or a method's name with dashes; what another method needs to make its own frames is there, too:
    `landmarks` (.npy) that drive them, and one picture in `source`.

    Raises:
        OSError: a file cannot be written.
    """
    person = case.label.replace("/", "-")
    _save(folder / "source" / f"{person}.png", _png(case.source.image))
    for kind, frames in {"truth": truths, **pictures}.items():
        where = folder / re.sub(r"[^A-Za-z0-9._]+", "-", kind) / person
        for name, frame in zip(case.names, frames, strict=True):
            _save(where / f"{name}.png", _png(frame))
    for name, target in zip(case.names, case.targets, strict=True):
        _save(folder / "landmarks" / person / f"{name}.npy", npy_bytes(scaled_landmarks(target)))


def _png(picture: Bytes) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(picture).save(encoded, "PNG")
    return encoded.getvalue()


def _save(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _read_masked(
    folder: FrameFolder, names: Sequence[str], covers: Sequence[Bytes | None], size: tuple[int, ...]
) -> list[Bytes]:
    pictures = [folder.read(name, size) for name in names]
    pairs = zip(pictures, covers, strict=True)
    return [picture if cover is None else remove_background(picture, cover) for picture, cover in pairs]


def _notes(truth: Path, masks: Path | None) -> tuple[str, ...]:
    background = "as it is in the frames" if masks is None else "painted black in truth and result by the given masks"
    return (
        f"Truth: {truth}. Background {background}. Pictures are compared in 8 bits; L1 and PSNR with a range of 1.",
        MEANS_NOTE,
    )
