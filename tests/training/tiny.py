"""Settings of a model that trains in seconds."""

from bilayer.model import ModelConfig
from bilayer.training.settings import DataSettings, Optimisation, Schedule, TrainingSettings

MODEL = {
    "image_size": 64, "emb_num_channels": 8, "emb_max_channels": 16, "tex_num_channels": 8, "tex_max_channels": 16,
    "inf_num_channels": 8, "inf_max_channels": 16, "pse_num_channels": 32, "enh_num_channels": 8,
    "enh_max_channels": 16, "enh_num_blocks": 1, "enh_bottleneck_tensor_size": 32, "enh_unrolling_depth": 2,
    "dis_num_channels": 8, "dis_max_channels": 16, "dis_num_blocks": 4,
}  # fmt: skip
CONFIG = ModelConfig(**MODEL)
# Half the blocks, for what hangs on neither depth nor growth: a step's time is one of layers, not of their size
SHALLOW = {
    "tex_input_tensor_size": 16, "inf_input_tensor_size": 16, "emb_output_tensor_size": 16,
    "dis_output_tensor_size": 16, "dis_num_blocks": 2,
}  # fmt: skip


def settings(root, losses=None, **schedule):
    values = {"iterations": 4, "standing_batches": 2, "checkpoint_every": 2, "validate_every": 4, "log_every": 1}
    return TrainingSettings(
        CONFIG,
        data=DataSettings(str(root), batch_size=2, target_frames=2, workers=0),
        schedule=Schedule(**{**values, "pictures_every": 4, **schedule}),
        optimisation=Optimisation(batch_norm_momentum=0.1),
        **({"losses": losses} if losses else {}),
    )


def toml(**tables):
    """The tiny model as a --config file; further tables as names to dicts."""
    defaults = {
        "model": MODEL,
        "data": {"batch_size": 2, "target_frames": 2, "workers": 0},
        "losses": {"perceptual": 0.0, "face_perceptual": 0.0},
        "schedule": {
            "iterations": 4, "standing_batches": 2, "checkpoint_every": 2, "validate_every": 4, "log_every": 1,
            "pictures_every": 4,
        },
    }  # fmt: skip
    lines = []
    for name in defaults.keys() | tables.keys():
        lines.append(f"[{name}]")
        for key, value in {**defaults.get(name, {}), **tables.get(name, {})}.items():
            text = f'"{value}"' if isinstance(value, str) else str(value).lower()
            lines.append(f"{key} = {text}")
    return "\n".join(lines) + "\n"
