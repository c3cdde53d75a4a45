"""The photos of an export: read, looked over for what may spoil the avatar, and made an avatar of."""

from collections.abc import Sequence
from dataclasses import replace

from bilayer.export.options import ENLARGED, ExportOptions
from bilayer.model.avatar import Avatar, create_avatar
from bilayer.model.config import ModelConfig
from bilayer.model.networks.bilayer import BilayerModel
from bilayer.model.photo_source import Portrait, shot_of, source_of_photo
from bilayer.runtime.arrays import Bytes
from bilayer.runtime.errors import ToolMissingError
from bilayer.runtime.face.fan import FanLandmarker
from bilayer.runtime.face.recognition import SAME_PERSON, IdentityRecogniser, identity_distance
from bilayer.runtime.vocabulary import Refine, WarpMotion

# Of a further photo's pixel, where those before it show the same: the first one's expression and light are kept
OTHERS_SHARE = 0.05


def read_portraits(
    options: ExportOptions, config: ModelConfig, photos: Sequence[Bytes] | None = None
) -> list[Portrait]:
    """Return the photos' people, the first of which sets identity and pose; `concerns` tell what is odd about each.

    `photos` are their pixels where they have been read already, by `check_options`.

    Raises:
        PhotoError, LandmarkError, ToolMissingError: as `source_of_photo` does.
    """
    searches = options.landmarks is None or bool(options.others)  # else the landmarks are given
    fan = FanLandmarker() if options.landmarker == "face-alignment" and searches else None
    names = [str(photo) for photo in (options.photo, *options.others)]
    read: Sequence[Bytes | str] = names if photos is None else photos
    given, *further = zip(read, names, strict=True)
    first = source_of_photo(
        given[0],
        config,
        name=given[1],
        landmarks=options.landmarks,
        landmarker=fan,
        face=options.face,
        rotate=options.rotate,
        mask=options.mask,
    )
    others = [source_of_photo(photo, config, name=name, landmarker=fan, mask=options.mask) for photo, name in further]
    side, size = first.crop.box.side, options.size or 0
    if size > max(config.image_size, ENLARGED * side):
        small = f"{options.photo}: the face's crop has {side} px: frames of {size} px show no more than it has"
        first = replace(first, concerns=(*first.concerns, small))
    return [first, *_compared(options, first, others)]


def _compared(options: ExportOptions, first: Portrait, others: Sequence[Portrait]) -> list[Portrait]:
    """Return `others` with a concern each that seems to show somebody else than the first, or cannot be compared."""
    if not others:
        return []
    try:
        recogniser = IdentityRecogniser()
    except ToolMissingError as error:
        note = f"whether all photos show one person was not looked at: {error}"
        return [replace(others[0], concerns=(*others[0].concerns, note)), *others[1:]]
    described = [recogniser.describe(seen.photo, seen.face.landmarks) for seen in (first, *others)]
    compared = []
    for name, other, description in zip(options.others, others, described[1:], strict=True):
        if described[0] is None or description is None:
            concern = f"{name}: dlib finds no face to compare with {options.photo}"
        elif (distance := identity_distance(described[0], description)) > SAME_PERSON:
            concern = (
                f"{name}: another person than {options.photo}? dlib's distance is {distance:.2f}, one person's "
                f"photos are within {SAME_PERSON}"
            )
        else:
            concern = ""
        compared.append(replace(other, concerns=(*other.concerns, concern)) if concern else other)
    return compared


def avatar_of(
    model: BilayerModel, portraits: Sequence[Portrait], refine: Refine, size: int, warp: WarpMotion | None = None
) -> Avatar:
    """Return the avatar of the first portrait's person, its texture `size` texels square and fitted to all of them."""
    shots = [shot_of(portrait, size, OTHERS_SHARE if number else 1.0) for number, portrait in enumerate(portraits)]
    return create_avatar(model, portraits[0].source, refine, shots, size, warp)
