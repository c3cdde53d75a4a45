"""Files in the place of a checkpoint that are hostile, damaged or another's, each with the words that refuse it."""

import os
import pickle
import zipfile

import torch

from tests.model.checkpoint_files import edit_weights


class Exploit:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def plant_rce(path, marker, **options):
    torch.save({"net.mlp.0.weight": Exploit(marker)}, path, **options)


HOSTILE = {
    "empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-3000]), "truncated or of another format"),
    "text": (lambda path: path.write_text("not found\n" * 9), "not a readable torch state dict"),
    "rce": (lambda path: plant_rce(path, path.with_name("owned")), "asks for posix.system"),
    "rce, old format": (
        lambda path: plant_rce(path, path.with_name("owned"), _use_new_zipfile_serialization=False),
        "asks for posix.system",
    ),
    "bare rce pickle": (
        lambda path: path.write_bytes(pickle.dumps(Exploit(path.with_name("owned")))),
        "asks for posix.system",
    ),
    "zip bomb": (lambda path: write_zip_bomb(path), "refused as a zip bomb"),
    "not a dict": (lambda path: torch.save([torch.zeros(3)], path), "expected a state dict .* found a list"),
    "numbers for tensors": (lambda path: torch.save({"net.mlp.0.bias": 3}, path), "expected a tensor, found a int"),
    "another model": (
        lambda path: torch.save({"conv1.weight": torch.zeros(3, 3)}, path),
        "not a keypoints_embedder of the bi-layer model: it holds conv1.weight",
    ),
    "nan": (lambda path: edit_weights(path, lambda t: t["net.mlp.2.bias"].fill_(torch.nan)), "24 of 24 values are NaN"),
    "infinity": (
        lambda path: edit_weights(path, lambda t: t["net.mlp.0.weight_orig"].view(-1)[:1].fill_(torch.inf)),
        "1 of 3264 values are NaN or infinite",
    ),
    "expanded": (
        lambda path: torch.save({"net.mlp.0.weight": torch.zeros(1).expand(10**5, 10**6)}, path),
        "claims shape .* without the values",
    ),
    "sparse": (
        lambda path: torch.save({"net.mlp.0.weight": torch.eye(3).to_sparse()}, path),
        "expected a dense float tensor",
    ),
    "no u": (lambda path: edit_weights(path, lambda t: t.pop("net.mlp.0.weight_u")), "spectral-norm vectors"),
    "short v": (
        lambda path: edit_weights(path, lambda t: t.update({"net.mlp.0.weight_v": torch.ones(3)})),
        r"v \(136,\), found \(\(24,\), \(3,\)\)",
    ),
    "weight of zeros": (
        lambda path: edit_weights(path, lambda t: t["net.mlp.0.weight_orig"].zero_()),
        "net.mlp.0.weight: no finite spectral norm",
    ),
    "u of zeros": (
        lambda path: edit_weights(path, lambda t: t["net.mlp.0.weight_u"].zero_()),
        "net.mlp.0.weight: no finite spectral norm",
    ),
    "norm too small": (
        lambda path: edit_weights(path, lambda t: t["net.mlp.0.weight_v"].mul_(1e-42)),
        "net.mlp.0.weight: no finite spectral norm",
    ),
    "averaged": (
        lambda path: edit_weights(path, lambda t: t.update({"net.mlp.0.weight_avg": torch.ones(24, 136)})),
        "averaged weights",
    ),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is a folder; name a checkpoint"),
}


def write_zip_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x/data/0", "w") as member:
        for _ in range(256):
            member.write(bytes(1 << 20))
