"""Settings of a training run."""

from tests.hostile.case import Case
from tests.hostile.damage import DAMAGED, WRONG
from tests.training.tiny import toml


def train(name, content, codes=(3,), says=""):
    def lay(goods, folder):
        path = folder / "settings.toml"
        content(path) if callable(content) else path.write_bytes(
            content.encode() if isinstance(content, str) else content
        )
        return ["base", "--config", path.name, "--data", goods.data, "--out", "out", "--device", "cpu",
                "--iterations", 1, "--no-validate"]  # fmt: skip

    begun = name == "file-empty"  # the paper's own settings, whose model does not fit into the memory
    return Case("settings", name, "train", lay, codes, says, begun=begun)


def value(table, key, given):
    label = f"{key}-{given}".replace(" ", "")[:60].replace("[", "").replace("]", "").replace('"', "").replace(",", "-")
    return train(
        label.strip("-") or f"{key}-empty",
        toml(**{table: {}}) + f"\n# {key}\n" if given is None else with_value(table, key, given),
    )


def with_value(table, key, given):
    """The tiny model's settings, one of them as this text has it."""
    lines = [line for line in toml(**{table: {}}).splitlines() if not line.startswith(f"{key} =")]
    at = lines.index(f"[{table}]")
    return "\n".join([*lines[: at + 1], f"{key} = {given}", *lines[at + 1 :]]) + "\n"


LONG = "9" * 400
VALUES = [
    ("model", "image_size", "0"),
    ("model", "image_size", "-64"),
    ("model", "image_size", "65"),
    ("model", "image_size", LONG),
    ("model", "image_size", "nan"),
    ("model", "image_size", '"64"'),
    ("model", "image_size", "true"),
    ("model", "image_size", "1073741824"),
    ("model", "inf_num_channels", "0"),
    ("model", "inf_num_channels", "1073741824"),
    ("model", "eps", "nan"),
    ("model", "eps", "-1.0"),
    ("model", "no_such_field", "1"),
    ("data", "batch_size", "0"),
    ("data", "batch_size", "-1"),
    ("data", "batch_size", LONG),
    ("data", "target_frames", "0"),
    ("data", "workers", "-1"),
    ("data", "workers", "1.5"),
    ("data", "seed", "-1"),
    ("data", "seed", "99999999999999999999"),
    ("schedule", "iterations", "0"),
    ("schedule", "iterations", "-5"),
    ("schedule", "iterations", "1e3"),
    ("schedule", "checkpoint_every", "0"),
    ("schedule", "log_every", "0"),
    ("schedule", "validate_every", "-1"),
    ("schedule", "standing_batches", "-1"),
    ("schedule", "pictures_every", "0"),
    ("optimisation", "learning_rate", "nan"),
    ("optimisation", "learning_rate", "inf"),
    ("optimisation", "learning_rate", "-1.0"),
    ("optimisation", "learning_rate", '"fast"'),
    ("optimisation", "betas", "[0.5]"),
    ("optimisation", "betas", "[0.5, 0.9, 0.9]"),
    ("optimisation", "betas", "[2.0, 0.9]"),
    ("optimisation", "betas", "[nan, 0.9]"),
    ("optimisation", "no_such", "1"),
    ("losses", "perceptual", "nan"),
    ("losses", "perceptual", "-1.0"),
    ("losses", "perceptual", LONG),
    ("losses", "no_such", "1.0"),
]
CASES = [
    *(
        train(f"file-{name}", lambda path, change=change: change(path, toml().encode()))
        for name, change in WRONG.items()
        if name != "a-quarter"
    ),
    *(
        train(f"file-{name}", lambda path, change=change: change(path, toml().encode()))
        for name, change in DAMAGED.items()
        if name in ("head-flipped", "middle-zeroed", "a-byte-more")
    ),
    *(value(*given) for given in VALUES),
    train("long-number", "[data]\nbatch_size = " + "9" * 5000 + "\n"),
    train("nested", "a = " + "[" * 100_000),
    train("nested-tables", "[" + ".".join("a" * 5000) + "]\n"),
    train("date", "[data]\nbatch_size = 1979-05-27T07:32:00Z\n"),
    train("bom-and-noise", b"\xef\xbb\xbf\xff"),
    train("key-of-lines", '[data]\n"a\\nb\\u001b[2J" = 1\n'),
    train("table-twice", "[data]\n[data]\n"),
    train("table-a-number", "data = 1\n"),
]
