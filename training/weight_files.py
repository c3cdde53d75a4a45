"""The files of weights that losses and metrics need of a user: which it is, and what is seen of it without torch.

docs/metrics.md has the table of them all.
"""

from dataclasses import dataclass
from pathlib import Path

from bilayer.runtime.errors import CheckpointError
from bilayer.runtime.files.given import check_kind_of
from bilayer.runtime.files.kinds import DATA, SAFETENSORS, TORCH
from bilayer.runtime.files.reading import StrPath, is_there


@dataclass(frozen=True)
class WeightFile:
    """A file of published weights."""

    name: str  # what messages call it
    source: str  # its own name, and where it is to be had

    def check(self, path: StrPath) -> None:
        """Raise a CheckpointError where a file is not there, or is no state dict by its first bytes."""
        self.check_there(path)
        suffix, kind = (".safetensors", SAFETENSORS) if is_safetensors(path) else (".pth", TORCH)
        way_out = f"give {self.source}, or the same as .safetensors"
        check_kind_of(path, f"weights ({suffix})", (kind, DATA), way_out, CheckpointError)

    def check_there(self, path: StrPath) -> None:
        """Raise a CheckpointError where no file is there."""
        if not is_there(path):
            raise CheckpointError(f"{path}: no such file; expected {self.name}, {self.source}")


def is_safetensors(path: StrPath) -> bool:
    """Return whether a file of weights is read as .safetensors, which its name tells; any other is torch's."""
    return Path(path).suffix == ".safetensors"


VGG19 = WeightFile("VGG19 (ImageNet)", "vgg19-dcbb9e9d.pth of torchvision, from download.pytorch.org/models")
VGG_FACE = WeightFile(
    "VGGFace", "vgg16_face_caffe.pth of the authors (github.com/saic-violet/bilayer-model, pretrained weights)"
)
VGG16 = WeightFile("VGG16 (ImageNet)", "vgg16-397923af.pth of torchvision, from download.pytorch.org/models")
LPIPS_HEADS = WeightFile(
    "LPIPS' heads",
    "lpips/weights/v0.1/vgg.pth of github.com/richzhang/PerceptualSimilarity, or of the package lpips",
)
