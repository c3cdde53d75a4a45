"""Videos -> training data: one face followed, cut out, landmarks and mask beside it."""

import functools
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath

import numpy as np

from bilayer.runtime.errors import InputError
from bilayer.runtime.face.crop import cut_box, pose_vector
from bilayer.runtime.face.person_mask import PersonMasker
from bilayer.runtime.files import stores
from bilayer.runtime.files.copies import copying
from bilayer.runtime.files.reading import FileKind, StrPath, checked, is_folder, is_there, list_below, size_of
from bilayer.runtime.files.writing import sweep_drafts, write_file
from bilayer.runtime.jobs.run import Workers, run_jobs
from bilayer.runtime.media.video import VideoFrames, load_av
from bilayer.runtime.motion.drivers import FollowsFaces
from bilayer.runtime.typed_json import read_content, typed
from bilayer.runtime.vocabulary import Split
from bilayer.training.data.layout import IMAGES
from bilayer.training.prepare.files import (
    DAMAGED,
    VideoStage,
    agreeing_on_settings,
    refuse_other_split,
    removing_stages,
    staging,
)
from bilayer.training.prepare.options import VideoSettings
from bilayer.training.prepare.tracking import FaceFollower, Stretch, split_stretches, watch

SUFFIXES = (
    *(".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".3gp", ".flv", ".m2ts", ".mts", ".mxf"),
    *(".ogv", ".ts", ".vob", ".wmv"),
)
SETTINGS_FILE, RECORDS = "videos.json", "videos"  # in ROOT: how it was made, and what of each video


@dataclass(frozen=True)
class VideoJob:
    """One video to prepare, and where its files go."""

    path: StrPath  # or URL
    root: Path
    split: Split
    person: str
    video: str
    settings: VideoSettings

    @property
    def record(self) -> Path:
        """The path of the record that is written when the video is prepared."""
        return self.root / RECORDS / self.split / self.person / f"{self.video}.json"


@dataclass(frozen=True)
class VideoResult:
    """The record of a prepared video: what it was and how much came of it. It is written last."""

    file: str  # name of the video
    bytes: int  # of it
    rate: float  # frames a second, of the video
    sequences: int
    frames: int  # written
    looked_at: int  # frames
    without_face: int  # of those
    too_small: int  # of those: the face, for min_side
    too_short: int  # of those: the sequence, for min_frames


@dataclass(frozen=True)
class VideosReport:
    """The videos that a run has prepared, found prepared, and failed at."""

    done: dict[str, VideoResult]  # by PERSON/VIDEO
    finished_before: int
    failed: dict[str, str]  # PERSON/VIDEO -> what is wrong with it


def find_videos(places: Sequence[StrPath], root: Path, split: Split, settings: VideoSettings) -> list[VideoJob]:
    """Return the videos that `places` (files, or folders of them, by paths or URLs) hold, sorted by person and video.

    A file PERSON.mp4 is a person; in a folder, PERSON/VIDEO.mp4 and PERSON/A/B.mp4 are PERSON's videos VIDEO and A-B.

    Raises:
        InputError: no such place, no video in it, or two videos of the same name.
    """
    jobs: dict[tuple[str, str], VideoJob] = {}
    for place in places:
        for path, parts in _videos_of(place):
            person, video = parts[0], "-".join(parts[1:]) or parts[0]
            job = VideoJob(path, root, split, person, video, settings)
            if (other := jobs.setdefault((person, video), job)) is not job and other.path != path:
                raise InputError(f"{path}: would be {person}/{video}, as {other.path}; rename one")
    return [jobs[key] for key in sorted(jobs)]


def prepare_videos(
    jobs: Sequence[VideoJob], workers: Workers, on_done: Callable[[], None] = lambda: None
) -> VideosReport:
    """Prepare those of the videos that are not done yet, and return what came of it; `on_done` hears of each.

    Raises:
        InputError: the folder holds data of other settings, or a person of the other split.
        ToolMissingError: PyAV or a network file is missing.
    """
    root, settings = jobs[0].root, jobs[0].settings
    load_av(), _faces(settings.landmarker), _masker()  # what is missing stops the run before it leaves a trace
    persons = {job.person for job in jobs}
    refuse_other_split(root, jobs[0].split, persons, "no person belongs in both: rename the video, or leave it out")
    for job in jobs:
        sweep_drafts(job.record.parent)
    done: dict[str, VideoResult] = {}
    failed: dict[str, str] = {}
    settled = agreeing_on_settings(root / SETTINGS_FILE, asdict(settings), lambda: _holds_videos(jobs))
    with settled, ExitStack() as ending:
        waiting = [job for job in jobs if not _is_done(job)]
        ending.enter_context(removing_stages(root, jobs[0].split, ((job.person, job.video) for job in waiting)))
        for job, result in run_jobs(prepare_video, waiting, workers):
            name = f"{job.person}/{job.video}"
            if isinstance(result, InputError):
                failed[name] = str(result)
            else:
                done[name] = result
            on_done()
    by_name = {name: done[name] for name in sorted(done)}
    return VideosReport(by_name, len(jobs) - len(waiting), {name: failed[name] for name in sorted(failed)})


def _holds_videos(jobs: Sequence[VideoJob]) -> bool:
    """Whether a video's record lies in the data folder, of any run, or pictures of one of these videos."""
    records = jobs[0].root / RECORDS
    if is_folder(records) and any(file.suffix == ".json" for file in list_below(records)):
        return True
    return any(is_folder(job.root / IMAGES / job.split / job.person / job.video) for job in jobs)


def prepare_video(job: VideoJob) -> VideoResult:
    """Look through the video for faces; then, through it again, cut them out, all or none; return what came of it.

    Raises:
        InputError: it cannot be read; it is tried again next time.
    """
    with copying() as copies:
        return _prepare(job, copies.fetch(str(job.path), "video", FileKind.VIDEO))


def _prepare(job: VideoJob, path: Path) -> VideoResult:
    settings = job.settings
    with VideoFrames(path) as frames:
        rate = frames.rate
        sightings = list(watch(frames.moments(), _faces(settings.landmarker), settings.fps, settings.seconds))
    stretches = split_stretches(sightings, settings.min_frames)
    large = [stretch for stretch in stretches if stretch.box.side >= settings.min_side]
    seen = sum(sighting.landmarks is not None for sighting in sightings)
    followed = sum(len(stretch.numbers) for stretch in stretches)
    written = sum(len(stretch.numbers) for stretch in large)
    with staging(job.root, job.split, job.person, job.video) as stage, VideoFrames(path) as frames:
        _write(frames, large, stage, settings)
    result = VideoResult(
        file=path.name,
        bytes=size_of(path),
        rate=rate,
        sequences=len(large),
        frames=written,
        looked_at=len(sightings),
        without_face=len(sightings) - seen,
        too_small=followed - written,
        too_short=seen - followed,
    )
    write_file(job.record, json.dumps(asdict(result), indent=2, allow_nan=False) + "\n")
    return result


def _write(frames: VideoFrames, stretches: Sequence[Stretch], stage: VideoStage, settings: VideoSettings) -> None:
    """Sequences and their frames are numbered from 0."""
    places = {number: (i, j) for i, stretch in enumerate(stretches) for j, number in enumerate(stretch.numbers)}
    last = max(places, default=-1)
    for number, (_, picture) in enumerate(frames.moments()):
        if number > last:
            return
        if number not in places:
            continue
        i, j = places[number]
        box, landmarks = stretches[i].box, stretches[i].landmarks[j]
        image = cut_box(picture, box, settings.size)
        points = (pose_vector(landmarks, box).reshape(-1, 2) + 1) * np.float32(settings.size / 2)
        mask = np.rint(_masker().foreground(image) * 255).astype(np.uint8)  # as bilayer-export does to a photo
        stage.write(f"{i:05d}", f"{j:05d}", image, mask, points, picture_format=settings.picture_format)


def _videos_of(place: StrPath) -> list[tuple[StrPath, tuple[str, ...]]]:
    """Each video with the parts of its name."""
    if not stores.is_url(str(place)) and not is_folder(place):
        checked(place, FileKind.VIDEO)
        return [(place, (Path(place).stem,))]
    listed = stores.find_below(str(place))
    if [below for _, below in listed] == [""]:  # a store's file
        listed = [(str(place), PurePath(place).name)]
    found: list[tuple[StrPath, tuple[str, ...]]] = []
    for path, below in listed:
        name = PurePath(below)
        parts = name.with_suffix("").parts
        if name.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in parts):
            found.append((path, parts))
    if not found:
        expected = f"expected videos ({' '.join(SUFFIXES)}) in this folder"
        raise InputError(f"{place}: {expected}, found none; name the folder that they lie in")
    return found


def _is_done(job: VideoJob) -> bool:
    """Tell whether a video is prepared: it has a record, which names a file of the same name and size."""
    if not is_there(job.record):
        return False
    record = typed(VideoResult, read_content(job.record, DAMAGED), str(job.record), DAMAGED)
    return (record.file, record.bytes) == (PurePath(job.path).name, stores.size(str(job.path)))


@functools.cache  # one a process: networks take longer to load than a frame
def _faces(name: str) -> FollowsFaces:
    if name == "face-alignment":
        from bilayer.runtime.face.fan import FanLandmarker

        return FaceFollower(FanLandmarker())
    from bilayer.runtime.face.mediapipe import MediapipeLandmarker

    return MediapipeLandmarker()


@functools.cache
def _masker() -> PersonMasker:
    return PersonMasker()
