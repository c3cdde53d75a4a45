"""What can be seen without torch of the data that a run is to train on."""

from pathlib import Path

from bilayer.runtime.errors import InputError
from bilayer.training.data.layout import COORDS, IMAGES, MASKS, check_sequences, has_kind
from bilayer.training.settings import TrainingSettings
from bilayer.training.weight_files import VGG19, VGG_FACE


def check_data(settings: TrainingSettings) -> None:
    """See that the data are there, and all that the losses need.

    Raises:
        InputError: no data there, or a loss needs what they lack, or another number of frames.
    """
    data, losses = settings.data, settings.losses
    if (losses.twos or losses.twos_picture) and not (losses.fitted and data.target_frames % 2):
        raise InputError(
            "[losses] twos: source and targets come in twos then: expected an odd [data] target_frames and [losses] "
            f"fitted above 0, found {data.target_frames} and {losses.fitted}"
        )
    if not data.root:
        raise InputError("[data] root: expected a folder, none is named; give --data FOLDER")
    root = Path(data.root)
    check_sequences(root, "train")
    if has_kind(root, "test", IMAGES):
        check_sequences(root, "test")
    if losses.coordinates and not has_kind(root, "train", COORDS):
        raise InputError(f"{root}: has no coords/, which [losses] coordinates needs; set that to 0")
    if losses.segmentation and settings.model.inf_pred_segmentation and not has_kind(root, "train", MASKS):
        raise InputError(f"{root}: has no segs/, which [losses] segmentation needs; set that to 0")


def check_weight_files(settings: TrainingSettings) -> None:
    """Raise a CheckpointError where weights of a perceptual loss that counts are not there, or no state dict."""
    losses, files = settings.losses, settings.perceptual
    for weight, path, file in (
        (losses.perceptual, files.vgg19, VGG19),
        (losses.face_perceptual, files.vgg_face, VGG_FACE),
    ):
        if weight and path:
            file.check(path)
