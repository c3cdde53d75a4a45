"""One photo -> what the networks take of its person: the one way, for exports, comparisons and whoever comes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bilayer.model.avatar import Shot, Source, make_source
from bilayer.model.config import ModelConfig
from bilayer.model.warp import resize_picture
from bilayer.runtime.arrays import Bytes, Floats
from bilayer.runtime.errors import PhotoError
from bilayer.runtime.face.crop import Crop, crop_face, cut_box, photo_part, scale_image
from bilayer.runtime.face.find import face_concerns, find_face
from bilayer.runtime.face.found import Face, Landmarker, face_from_landmarks
from bilayer.runtime.face.landmark_files import read_landmarks
from bilayer.runtime.face.person_mask import PersonMasker
from bilayer.runtime.media.photo import read_photo


@dataclass(frozen=True, eq=False)
class Portrait:
    """A photo, and what was made of it on the way to an avatar."""

    photo: Bytes  # (H, W, 3) RGB, turned upright
    face: Face  # in the photo's pixels
    crop: Crop
    mask: Floats | None  # (S, S) 1 on the person, 0 on the background; None: all is taken for the person
    source: Source  # a batch of one
    concerns: tuple[str, ...]  # what is likely to spoil the avatar, a sentence each


def shot_of(portrait: Portrait, size: int, share: float = 1.0) -> Shot:
    """Return a photo as a texture is fitted to it: its crop cut anew from the photo, `size` px square; see `Shot`.

    What the crop shows beyond the photo, black, is nobody: the person's mask may run on there, and would bring a bar.
    """
    photo, box = portrait.photo, portrait.crop.box
    image, part = scale_image(cut_box(photo, box, size)), photo_part(photo, box, size)
    masks = resize_picture(portrait.source.masks, size) * torch.from_numpy(part)
    return Shot(torch.from_numpy(image)[None], masks, portrait.source.poses, share)


def source_of_photo(
    photo: Path | str | Bytes,
    config: ModelConfig,
    *,
    name: str = "",
    landmarks: Path | str | Floats | None = None,
    landmarker: Landmarker | None = None,
    face: int | None = None,
    rotate: int = 0,
    mask: bool = True,
) -> Portrait:
    """Return a photo's person as the networks take it, and every step on the way.

    Args:
        photo: a file, or pixels (H, W, 3) RGB.
        config: settings of the model; what counts is the picture's size, and how thick landmarks are drawn.
        name: what messages call the photo; by default its file, or "the photo".
        landmarks: 68 points (68, 2) in the turned photo's pixels, or a file of them; in place of a landmarker.
        landmarker: who finds the face otherwise; MediaPipe's networks by default.
        face: which of several, counted from 1, the largest, which is taken by default.
        rotate: degrees to turn the photo clockwise first, a multiple of 90.
        mask: whether the background is taken away before the embedder, as in training.

    Raises:
        PhotoError: the photo cannot be read, or there is no such face.
        LandmarkError: `landmarks` are not 68 finite points with a usable extent.
        ToolMissingError: a network that finds faces or people is not set up.
    """
    name = name or ("the photo" if isinstance(photo, np.ndarray) else str(photo))
    pixels = _checked(photo) if isinstance(photo, np.ndarray) else read_photo(photo)
    pixels = np.ascontiguousarray(np.rot90(pixels, k=-(rotate // 90)))
    if landmarks is None:
        found = find_face(pixels, landmarker, face, name)
    else:
        found = face_from_landmarks(landmarks if isinstance(landmarks, np.ndarray) else read_landmarks(landmarks))
    crop = crop_face(pixels, found.landmarks, config.image_size)
    foreground = PersonMasker().foreground(crop.image) if mask else None
    concerns = tuple(f"{name}: {concern}" for concern in face_concerns(found, pixels.shape))
    return Portrait(pixels, found, crop, foreground, make_source(crop, config, foreground), concerns)


def _checked(pixels: Bytes) -> Bytes:
    """A caller's pixels, if they are what `read_photo` gives."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        found = f"{pixels.dtype} {pixels.shape}"
        raise PhotoError(f"the photo: expected uint8 (height, width, 3) RGB, found {found}")
    return pixels
