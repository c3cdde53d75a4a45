"""Synthetic heads -> training data, with the masks, landmarks and texture coordinates that only a renderer knows."""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bilayer.runtime.errors import InputError
from bilayer.runtime.files.reading import is_folder, list_folder
from bilayer.runtime.jobs.run import Workers, run_jobs
from bilayer.runtime.vocabulary import Split
from bilayer.training.data.layout import IMAGES, SPLITS, TWOS
from bilayer.training.prepare.files import agreeing_on_settings, refuse_other_split, removing_stages, staging
from bilayer.training.prepare.options import HeadSettings

if TYPE_CHECKING:
    from bilayer.training.heads.model import HeadModel

SETTINGS_FILE = "heads.json"
VIDEO = SEQUENCE = "0"
PIXEL_CENTRE = 0.5  # px from the picture's corner, that the renderer counts from, to landmarkers' zero


@dataclass(frozen=True)
class HeadJob:
    """One identity to render, and where its files go."""

    identity: int  # its seed
    folder: Path | None  # of the head model; None: the built-in ellipsoid
    root: Path
    split: Split
    settings: HeadSettings

    @property
    def person(self) -> str:
        """The name of the identity's folder, which stands for a person's."""
        return f"head{self.identity:05d}"

    @property
    def video(self) -> str:
        """The name of the folder in it, which stands for a video."""
        return TWOS if self.settings.expressions == "pairs" else VIDEO

    @property
    def is_done(self) -> bool:
        """Whether the identity is rendered: its pictures, which are written last, are there."""
        return is_folder(self.root / IMAGES / self.split / self.person / self.video)


@dataclass(frozen=True)
class HeadsReport:
    """The number of identities and frames that a run has rendered, and of those it found."""

    identities: int  # rendered
    frames: int  # rendered
    finished_before: int  # identities


def frame_seed(identity: int, frame: int) -> int:
    """Return the seed of a frame's pose and expression: one of its own for each frame of each identity."""
    return int(np.random.SeedSequence([identity, frame]).generate_state(1, np.uint64)[0])


def head_jobs(
    folder: Path | None, root: Path, split: Split, identities: range, settings: HeadSettings
) -> list[HeadJob]:
    """Return the jobs that render `identities` into a split of `root`, one for each."""
    return [HeadJob(identity, folder, root, split, settings) for identity in identities]


def prepare_heads(jobs: list[HeadJob], workers: Workers, on_done: Callable[[], None] = lambda: None) -> HeadsReport:
    """Render those of the identities that are not there yet, and return what came of it; `on_done` hears of each.

    Raises:
        InputError: the folder holds heads of other settings, or an identity of the other split.
    """
    root, split = jobs[0].root, jobs[0].split
    refuse_other_split(root, split, {job.person for job in jobs}, "move --first-identity")
    waiting = [job for job in jobs if not job.is_done]
    frames = 0
    settled = agreeing_on_settings(root / SETTINGS_FILE, _stored(jobs[0].settings), lambda: _holds_heads(root))
    with settled, removing_stages(root, split, ((job.person, job.video) for job in waiting)):
        for _, result in run_jobs(render_identity, waiting, workers):
            if isinstance(result, InputError):  # the model's, and so every identity's
                raise result
            frames += result
            on_done()
    return HeadsReport(len(waiting), frames, len(jobs) - len(waiting))


def _holds_heads(root: Path) -> bool:
    """Whether pictures of an identity, of any run, lie in a data folder."""
    splits = [root / IMAGES / split for split in SPLITS]
    return any(list_folder(split, "head[0-9]*") for split in splits if is_folder(split))


def _stored(settings: HeadSettings) -> dict[str, Any]:
    """Settings as they lie beside the data; those of later days are left out where they are as it was before."""
    return {name: value for name, value in asdict(settings).items() if (name, value) != ("expressions", "usual")}


def render_identity(job: HeadJob) -> int:
    """Render all frames of an identity, or none, always the same; return how many there are."""
    from bilayer.training.heads.identity import sample_identity
    from bilayer.training.heads.pose import sample_pair, sample_pose
    from bilayer.training.heads.render import render_head

    model, settings = _model(job.folder), job.settings
    identity = sample_identity(model, job.identity)
    with staging(job.root, job.split, job.person, job.video) as stage:
        for frame in range(settings.frames):
            if settings.expressions == "pairs":
                pose = sample_pair(model, frame_seed(job.identity, frame // 2))[frame % 2]
            else:
                pose = sample_pose(model, frame_seed(job.identity, frame), settings.expressions == "strong")
            head = render_head(model, identity, pose, settings.size, settings.supersampling)
            landmarks = head.landmarks - np.float32(PIXEL_CENTRE)
            stage.write(SEQUENCE, f"{frame:05d}", head.image, head.mask, landmarks, head.coords)
    return settings.frames


def model_fingerprint(folder: Path | None) -> str:
    """Return a hash of the model's shapes: the same wherever its folder stands."""
    model = _model(folder)
    digest = hashlib.sha256()
    for array in (model.vertices, model.triangles, model.uv, model.identity_modes, model.expression_shapes):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


@functools.cache  # one a process: reading it takes longer than a frame
def _model(folder: Path | None) -> "HeadModel":
    from bilayer.training.heads.load import load_head_model

    return load_head_model(folder)
