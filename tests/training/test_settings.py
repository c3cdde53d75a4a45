"""The ranges of all settings of training: seen before anything is loaded, each told by file, field and value."""

import json
import subprocess
import sys
from dataclasses import fields, is_dataclass
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from bilayer.runtime.errors import InputError
from bilayer.training.settings import TrainingSettings, read_settings
from tests.training import tiny


def numbers(kind, prefix=""):
    """Every numeric setting: its dotted name, int or float, and its range; None of ModelConfig's, which it checks."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if kind is not TrainingSettings or name != "perceptual":
            yield from of_hint(hint, f"{prefix}{name}", None)


def of_hint(hint, name, meta):
    if get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        yield from of_hint(inner, name, next(note for note in notes if isinstance(note, Meta)))
    elif is_dataclass(hint):
        yield from numbers(hint, f"{name}.")
    elif get_origin(hint) is tuple and get_args(hint)[-1] is not ...:
        for number, item in enumerate(get_args(hint)):
            yield from of_hint(item, f"{name}[{number}]", None)
    elif hint in (int, float):
        yield name, hint, meta


NUMBERS = {name: (kind, meta) for name, kind, meta in numbers(TrainingSettings)}


def test_every_number_has_a_range_at_both_ends():
    assert len(NUMBERS) > 50
    assert len([name for name in NUMBERS if name.startswith("model.")]) == len(
        [one for one in fields(tiny.CONFIG) if type(getattr(tiny.CONFIG, one.name)) in (int, float)]
    )
    for name, (_, meta) in NUMBERS.items():
        if not name.startswith("model."):  # of which ModelConfig checks each
            assert meta is not None, name
            assert (meta.ge is not None) or (meta.gt is not None), name
            assert (meta.le is not None) or (meta.lt is not None), name


def below(kind, meta):
    if meta is None:
        return 0 if kind is int else 0.0
    return (meta.ge - (1 if kind is int else 1e-3)) if meta.ge is not None else meta.gt


def above(kind, meta):
    if meta is None:
        return 10**5 if kind is int else 1.0
    return meta.lt if meta.lt is not None else meta.le * 2 + 1


@st.composite
def wrong_numbers(draw):
    name = draw(st.sampled_from(sorted(NUMBERS)))
    kind, meta = NUMBERS[name]
    least, most = below(kind, meta), above(kind, meta)
    if kind is int:
        values = (
            st.integers(max_value=least) | st.integers(min_value=most) | st.sampled_from([1 << 63, 1 << 64, 10**400])
        )
    else:
        finite = st.floats(max_value=least, allow_infinity=False) | st.floats(min_value=most, allow_infinity=False)
        values = finite | st.sampled_from([float("nan"), float("inf"), -float("inf")])
    return name, draw(values | st.sampled_from(["'1'", "true", "[]", "{}"]))


def with_value(name, value):
    """The tiny model's file with one setting more; betas are two, of which one is kept."""
    name, _, place = name.partition("[")
    if place:
        values = [0.5, 0.5]
        values[int(place[0])] = value
        value = f"[{values[0]}, {values[1]}]"
    return f"{name} = {value}\n" + "".join(f"model.{k} = {v}\n" for k, v in tiny.MODEL.items() if f"model.{k}" != name)


@settings(deadline=None, max_examples=400)
@given(wrong_numbers())
def test_a_number_out_of_range_is_told_by_field_and_value(tmp_path_factory, wrong):
    name, value = wrong
    path = tmp_path_factory.mktemp("settings") / "wrong.toml"
    path.write_text(with_value(name, value))
    with pytest.raises(InputError) as refused:
        read_settings(path)
    said = str(refused.value)
    assert "\n" not in said
    assert said.startswith(f"{path}: ")
    assert name.rpartition(".")[2] in said, (name, said)
    assert "expected" in said, said


@pytest.mark.parametrize("name", sorted(name for name, (_, meta) in NUMBERS.items() if meta is not None))
def test_the_ends_of_a_range_are_in_it(tmp_path, name):
    kind, meta = NUMBERS[name]
    path = tmp_path / "good.toml"
    for end in (meta.ge, meta.le):
        if end is not None:
            path.write_text(with_value(name, kind(end)))
            assert read_settings(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("optimisation.betas = [0.5, 0.9, 0.99]", "optimisation.betas: expected array of length 2, found"),
        ("optimisation.betas = [0.5]", "optimisation.betas: expected array of length 2, found"),
        ("optimisation.betas = [0.5, 1.0]", "optimisation.betas[1]: expected float < 1.0, found 1.0"),
        ("seed = 18446744073709551616", "seed: "),
        ("seed = -1", "seed: expected int >= 0, found -1"),
        ("data.batch_size = 0", "data.batch_size: expected int >= 1, found 0"),
        ("data.workers = 100000", "data.workers: expected int <= 256, found 100000"),
        ("losses.warping.interval = 0", "losses.warping.interval: expected int >= 1, found 0"),
        ("model.pse_in_channels = 100", "model.pse_in_channels: expected 136, as the data have, found 100"),
    ],
)
def test_settings_that_once_were_tracebacks(tmp_path, line, message):
    path = tmp_path / "wrong.toml"
    path.write_text(line)
    with pytest.raises(InputError) as refused:
        read_settings(path)
    assert message in str(refused.value)


def test_nothing_is_loaded_before_a_wrong_setting_is_told(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text("data.batch_size = 0")
    words = ["base", "--config", str(path), "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    code = f"""
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}}))))
from bilayer.training.cli import main
main({words!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
    assert done.stderr == f"error: {path}: data.batch_size: expected int >= 1, found 0\n"
    assert not {"torch", "numba", "cv2", "onnxruntime"} & set(json.loads(done.stdout))
