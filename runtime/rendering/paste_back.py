"""The avatar in the photo that it was made from: its head moves there, and what lies around it stays."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.bundle import PhotoSource
from bilayer.runtime.command.console import tell
from bilayer.runtime.errors import InputError
from bilayer.runtime.player import AvatarPlayer
from bilayer.runtime.rendering.whole_photo import check_shape, shown_size

# Correlation within the face. Of the astronaut and five drawn heads, their photos as they were, scaled, packed or
# darkened: 0.89 to 0.99; other people's in the same frame: 0.56 at most
ALIKE = 0.75
_SOFT = 0.12  # of the crop's side: over so much the photo becomes the avatar, at each edge of the crop in the photo
_AROUND = 0.07  # of the side, around the head that is taken out of the photo: its mask is drawn a little inside
_FEW = 16  # pixels, of which nothing can be told
_FILLED = 192  # px, the crop's side where what lies behind the head is made up; nobody looks at its detail


def paste_back(photo: Bytes, avatar: AvatarPlayer, path: Path) -> "PasteBack":
    """Return `read_whole_photo` of `path` around an avatar without a background; one of something else is warned of.

    Raises:
        InputError: the avatar's crop lies outside of it.
    """
    contract = avatar.bundle.contract
    paste = PasteBack(photo, contract.source, avatar.render(avatar.source_pose), path)
    if contract.origin.trained and paste.likeness < ALIKE:
        found = f"({paste.likeness:.2f} of 1, expected at least {ALIKE})"
        told = f"{path}: does not look like the photo that the avatar was made from {found}"
        tell("warning", f"{told}; if it is another, name the one that it was made from")
    return paste


class PasteBack:
    """A photo to put frames into.

    Behind the head the photo is made up from what is around it; the body stays as it is in the photo, and the avatar's
    fades into it between chin and lower edge.

    Args:
        photo: (H, W, 3) RGB, turned upright.
        source: where the avatar's crop lies in it.
        rest: the avatar's frame (F, F, 4) at the photo's own pose, with straight alpha.
        name: of the photo, for messages.

    Attributes:
        size: height and width of what is shown, px.
        likeness: of the photo and `rest`, -1..1, within the face; below `ALIKE` it is another photo.

    Raises:
        InputError: the photo has another shape than that the avatar was made from, or the crop lies outside of it.
    """

    def __init__(self, photo: Bytes, source: PhotoSource, rest: Bytes, name: str | Path = "the photo") -> None:
        check_shape(photo, source, name)
        self.size, expected = shown_size(photo), source.photo_size
        self._photo = cv2.resize(photo, self.size[::-1], interpolation=cv2.INTER_AREA)
        scale = np.array([self.size[1] / expected[0], self.size[0] / expected[1]] * 2)
        self._corners: list[int] = np.rint(np.array(source.crop) * scale).astype(int).tolist()
        left, top, right, bottom = self._corners
        self._sides = max(right - left, 1), max(bottom - top, 1)
        # The part of the crop that lies in the photo: in the photo, and in the crop
        self._there = np.s_[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        seen = self._photo[self._there].astype(np.float32)
        if not seen.size:
            raise InputError(f"{name}: the avatar's crop lies outside of it; give the photo that it was made from")
        rows, columns = max(-top, 0), max(-left, 0)
        self._part = slice(rows, rows + seen.shape[0]), slice(columns, columns + seen.shape[1])
        chin = (np.array(source.pose).reshape(-1, 2)[:, 1].max() + 1) / 2
        share = self._share(chin)[self._part][..., None]
        filled = self._without_head(rest, chin)
        self._base = seen + share * (filled - seen)
        self._share_there, self._filled = share, share * filled
        self.likeness = _likeness(seen, self._placed(rest), self._face(source))

    def __call__(self, frame: Bytes) -> Bytes:
        """A frame (F, F, 4) with straight alpha, in the photo: (H, W, 4), opaque, a new array."""
        whole = np.full((*self.size, 4), 255, np.uint8)
        whole[..., :3] = self._photo
        placed = self._placed(frame)
        mixed = self._base + self._share_there * placed[..., :3] - placed[..., 3:] * self._filled
        whole[..., :3][self._there] = np.clip(mixed + 0.5, 0, 255)
        return whole

    def _placed(self, frame: Bytes) -> Floats:
        """A frame at the crop's size, where it lies in the photo: colours times alpha, and alpha of 0..1."""
        alpha = frame[..., 3:].astype(np.float32) / 255
        weighted = np.concatenate([frame[..., :3] * alpha, alpha], axis=2)
        smaller = self._sides[0] < frame.shape[1]
        placed = cv2.resize(weighted, self._sides, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        return np.asarray(placed[self._part], np.float32)

    def _share(self, chin: float) -> Floats:
        """How much of each pixel of the crop is the avatar's, 0..1: nothing at its edges within the photo."""
        left, top, right, bottom = self._corners
        width, height = self._sides
        across, down = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
        ramps = [
            across / _SOFT if left > 0 else np.ones(width),
            (1 - across) / _SOFT if right < self.size[1] else np.ones(width),
            down / _SOFT if top > 0 else np.ones(height),
            (1 - down) / max(1 - chin, _SOFT) if bottom < self.size[0] else np.ones(height),
        ]
        one, other, upper, lower = (np.clip(ramp, 0, 1) ** 2 * (3 - 2 * np.clip(ramp, 0, 1)) for ramp in ramps)
        return np.asarray((one * other)[None] * (upper * lower)[:, None], np.float32)

    def _face(self, source: PhotoSource) -> NDArray[np.bool_]:
        """Which pixels of the crop's part of the photo (h, w) lie within its landmarks."""
        within = np.zeros(self._sides[::-1], np.uint8)
        points = (np.array(source.pose).reshape(-1, 2) + 1) / 2 * self._sides
        hull = cv2.convexHull(np.rint(points).clip(-9999, 9999).astype(np.int32))
        if cv2.contourArea(hull) < _FEW:  # no face, by which none could be told from another
            within[:] = 1
        cv2.fillConvexPoly(within, hull, (1,))
        return np.asarray(within[self._part] > 0)

    def _without_head(self, rest: Bytes, chin: float) -> Floats:
        """The crop's part of the photo (h, w, 3), and what may be behind the head in its place."""
        seen = self._photo[self._there].astype(np.float32)
        if rest[..., 3].min() == 255:  # no mask: every frame brings its own background
            return seen
        margin = self._sides[1] // 3  # around the crop, for what is to go on behind the head
        left, top, right, bottom = self._corners
        rows, columns = (max(top - margin, 0), bottom + margin), (max(left - margin, 0), right + margin)
        around = slice(*rows), slice(*columns)
        person = np.zeros((*self.size, 2), np.float32)  # all of it, and the head alone
        person[self._there] = self._placed(rest)[..., 3:]
        depth = (np.arange(self._sides[1]) + 0.5)[self._part[0]] / self._sides[1]
        person[self._there][depth > chin, :, 1] = 0
        person, size = person[around], person[around].shape[1::-1]
        small = tuple(max(round(side * _FILLED / self._sides[1]), 8) for side in size)
        reach = round(_AROUND * _FILLED)
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        holes = cv2.dilate((cv2.resize(person, small, interpolation=cv2.INTER_AREA) > 0.02).astype(np.uint8), brush)
        picture = cv2.resize(self._photo[around], small, interpolation=cv2.INTER_AREA)
        # Not made up of the body's colours, which would rise behind the neck
        made_up = cv2.GaussianBlur(cv2.inpaint(picture, holes[..., 0], 3, cv2.INPAINT_TELEA), (0, 0), 2)
        soft = cv2.GaussianBlur(holes[..., 1].astype(np.float32), (0, 0), reach / 3)
        behind = np.zeros((*self.size, 4), np.float32)
        behind[around] = cv2.resize(np.dstack([made_up.astype(np.float32), soft]), size, interpolation=cv2.INTER_LINEAR)
        made, share = behind[self._there][..., :3], behind[self._there][..., 3:]
        return np.asarray(seen + share * (made - seen), np.float32)


def _likeness(seen: Floats, placed: Floats, face: NDArray[np.bool_]) -> float:
    """The correlation of the photo (h, w, 3) with a frame (h, w, 4), colours times alpha, in brightness within a face.

    Of a face of a few pixels all that the frame shows counts; a frame that shows nothing is like any photo.
    """
    shown = placed[..., 3] > 0.5
    there = shown & face if (shown & face).sum() >= _FEW else shown
    if there.sum() < _FEW:
        return 1.0
    photo = seen.mean(axis=2)[there]
    frame = (placed[..., :3].mean(axis=2) / np.maximum(placed[..., 3], 0.5))[there]
    if frame.std() < 1:
        return 1.0
    return float(np.corrcoef(photo, frame)[0, 1]) if photo.std() >= 1 else 0.0
