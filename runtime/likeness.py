"""Is the avatar the person: its frames against the photo that it was made of, over poses of the built-in motion.

Identity by dlib's descriptor (extra [identity]), sharpness by the gradients inside the person, expression by the
landmarks that a detector finds in the frames, against those that drove them.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bilayer.runtime.agreement import SOLID, sharpness
from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.face.crop import CropBox, cut_box
from bilayer.runtime.face.expression import eye_opening, follow_ratio, mouth_opening
from bilayer.runtime.face.found import Landmarker
from bilayer.runtime.face.ibug import NUM_LANDMARKS
from bilayer.runtime.face.person_mask import PersonMasker
from bilayer.runtime.face.recognition import RECOGNISER, SAME_PERSON, IdentityRecogniser, identity_distance
from bilayer.runtime.files.writing import replacing
from bilayer.runtime.media.captioned_grid import captioned_grid
from bilayer.runtime.media.writers import on_white
from bilayer.runtime.motion.track import demo_motion
from bilayer.runtime.player import AvatarPlayer

POSES = 20
COLUMNS = 7  # of the sheet: the photo and 20 poses fill three rows
CAPTION = 32  # px, two lines above each picture


@dataclass(frozen=True)
class PoseLikeness:
    """What one frame shows. NaN where it could not be measured: no face was found, or no recogniser is there."""

    distance: float  # to the photo, by RECOGNISER: below SAME_PERSON one person
    sharpness: float  # gradients inside the person, over the photo's
    mouth: tuple[float, float]  # opening that drove, opening found; mouth widths
    eyes: tuple[float, float]  # likewise; eye widths


@dataclass(frozen=True, eq=False)
class Likeness:
    """What was measured of an avatar beside the photo that it was made of. The first pose is the photo's own."""

    photo: Bytes  # (S, S, 3) the crop
    frames: list[Bytes]  # (S, S, 3) each, on white
    poses: list[PoseLikeness]
    recognised: bool  # whether there was a recogniser

    @property
    def worst_distance(self) -> float:
        """The largest distance of the poses in which the recogniser found a face; NaN without any."""
        return max((pose.distance for pose in self.poses if not math.isnan(pose.distance)), default=math.nan)

    def follows(self, part: str) -> float:
        """Return how far "mouth" or "eyes" open for each step that the driver's do: 1 follows, 0 stays."""
        pairs = np.array([getattr(pose, part) for pose in self.poses])
        return follow_ratio(pairs[:, 1], pairs[:, 0])

    def to_dict(self) -> dict[str, object]:
        """Return JSON values; null for what could not be measured."""
        unseen = sum(math.isnan(pose.distance) for pose in self.poses)
        return {
            "recogniser": RECOGNISER if self.recognised else None,
            "same_person_below": SAME_PERSON,
            "distance_at_rest": _number(self.poses[0].distance),
            "distance_worst": _number(self.worst_distance),
            "poses_without_a_face": unseen if self.recognised else None,
            "sharpness": _number(float(np.mean([pose.sharpness for pose in self.poses]))),
            "mouth_follows": _number(self.follows("mouth")),
            "eyes_follow": _number(self.follows("eyes")),
            "poses": [
                {
                    "distance": _number(pose.distance),
                    "sharpness": _number(pose.sharpness),
                    "mouth": [_number(value) for value in pose.mouth],
                    "eyes": [_number(value) for value in pose.eyes],
                }
                for pose in self.poses
            ],
        }


def measure_likeness(
    player: AvatarPlayer,
    photo: Bytes,
    landmarker: Landmarker,
    recogniser: IdentityRecogniser | None = None,
    count: int = POSES,
) -> Likeness:
    """Compare an avatar's frames in `count` poses with its photo (H, W, 3), upright as it was when the avatar was made.

    Raises:
        ToolMissingError: the network that tells a person from the background is not set up.
    """
    left, top, right, _ = player.bundle.contract.source.crop
    half = (right - left) // 2
    crop = cut_box(photo, CropBox(left + half, top + half, half), player.size)
    known = None if recogniser is None else recogniser.describe(crop)
    true, person = np.moveaxis(crop, -1, 0), PersonMasker().mask(crop) * 255 >= SOLID
    track = likeness_poses(player.source_pose, count)
    frames, poses = [], []
    for landmarks in track:
        rgba = player.render(landmarks)
        frame = on_white(rgba)
        described = None if recogniser is None else recogniser.describe(frame)
        found = landmarker.find(frame)
        seen = found[0].landmarks if found else np.full((NUM_LANDMARKS, 2), np.nan, np.float32)
        frames.append(frame)
        poses.append(
            PoseLikeness(
                distance=math.nan if known is None or described is None else identity_distance(described, known),
                sharpness=sharpness(np.moveaxis(frame, -1, 0), true, rgba[..., 3] >= SOLID, person),
                mouth=(float(mouth_opening(landmarks)), float(mouth_opening(seen))),
                eyes=(float(eye_opening(landmarks)), float(eye_opening(seen))),
            )
        )
    return Likeness(crop, frames, poses, recogniser is not None)


def likeness_poses(source_pose: Floats, count: int = POSES) -> Floats:
    """Return `count` poses (N, 68, 2) of the built-in motion in their order: its rest first, eyes shut, mouth widest,
    and others evenly between.
    """
    landmarks = demo_motion(source_pose.reshape(NUM_LANDMARKS, 2)).landmarks
    ends = {0, int(np.argmin(eye_opening(landmarks))), int(np.argmax(mouth_opening(landmarks)))}
    others = [i for i in range(len(landmarks)) if i not in ends]
    wanted = max(0, count - len(ends))
    even = [others[(2 * k + 1) * len(others) // (2 * wanted)] for k in range(wanted)]
    return landmarks[sorted([*ends, *even])[:count]]


def save_sheet(path: Path, likeness: Likeness) -> None:
    """Write the photo and every pose side by side as a PNG, what was measured above each, whole or not at all.

    Raises:
        OutputError: it cannot be written there.
    """
    captions = ["the photo", *(_caption(pose, likeness.recognised) for pose in likeness.poses)]
    pictures = [likeness.photo, *likeness.frames]
    rows = [slice(start, start + COLUMNS) for start in range(0, len(pictures), COLUMNS)]
    sheet = captioned_grid([pictures[row] for row in rows], [captions[row] for row in rows], CAPTION)
    with replacing(path) as part:
        sheet.save(part, format="PNG")


def _caption(pose: PoseLikeness, recognised: bool) -> str:
    known = "no face found" if math.isnan(pose.distance) else f"distance {pose.distance:.2f}"
    openings = (f"{name} {found:.2f} of {driven:.2f}" for name, (driven, found) in _parts(pose).items())
    return f"{known if recognised else 'no [identity]'}, sharpness {pose.sharpness:.2f}\n{', '.join(openings)}"


def _parts(pose: PoseLikeness) -> dict[str, tuple[float, float]]:
    return {"mouth": pose.mouth, "eyes": pose.eyes}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
