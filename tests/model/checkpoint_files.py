"""The tiny published model's files, changed as a test asks, and what a model holds."""

import numpy as np
import torch

MAIN, ENHANCER = "tiny_main", "tiny_enhancer"


def checkpoint(runs, network, experiment=MAIN):
    return runs / experiment / "checkpoints" / f"{2 if experiment == MAIN else 3}_{network}.pth"


def edit_args(runs, experiment=ENHANCER, **settings):
    path = runs / experiment / "args.txt"
    lines = [line for line in path.read_text().splitlines() if line.split(":")[0] not in settings]
    path.write_text("\n".join(lines + [f"{name}: {value}" for name, value in settings.items()]) + "\n")


def edit_weights(path, edit, **options):
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    edit(tensors)
    torch.save(tensors, path, **options)


def states(model):
    return {key: tensor.numpy() for key, tensor in model.state_dict().items()}


def assert_same(first, second):
    first, second = states(first), states(second)
    assert first.keys() == second.keys()
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key], err_msg=key)
