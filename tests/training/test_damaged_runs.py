"""A run's folder with a damaged file in it: the run goes on, or one line says what to do. And what is not finite."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from bilayer.model import load_model
from bilayer.training.cli import main
from bilayer.training.loop import _Run
from tests.training import tiny


def train(config, data, out, *more):
    words = ["base", "--config", config, "--data", data, "--out", out, "--device", "cpu", *more]
    return CliRunner().invoke(main, [str(word) for word in words])


def ends_in_one_line(done, message):
    assert done.exit_code == 3, (done.exit_code, done.stderr, done.exception)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == done.stderr.splitlines()[-1:]
    assert message in errors[0], errors
    assert isinstance(done.exception, SystemExit)


CONFIG = replace(tiny.CONFIG, **tiny.SHALLOW)


@pytest.fixture(autouse=True)
def settled_soon(monkeypatch):
    """What is told here of files does not hang on singular values, which half of a refused run's time finds."""
    monkeypatch.setattr("bilayer.training.networks._SETTLING_STEPS", 1)


@pytest.fixture(scope="module")
def begun(once_for_all, tiny_heads):
    """A configuration, and the folder of a run of it that was stopped after 2 of 4 iterations. Not to be changed."""

    def make(folder):
        (folder / "tiny.toml").write_text(tiny.toml(model=tiny.SHALLOW, optimisation={"average": 0.5}))
        done = train(folder / "tiny.toml", tiny_heads, folder / "run", "--iterations", 2, "--no-validate")
        assert done.exit_code == 0, done.stderr

    folder = once_for_all("begun", make)
    return folder / "tiny.toml", folder / "run"


@pytest.fixture
def again(begun, tiny_heads, tmp_path):
    """A copy of the run, and a function that goes on with it."""
    config, run = begun
    out = tmp_path / "run"
    shutil.copytree(run, out)
    return out, lambda *more: train(config, tiny_heads, out, "--no-validate", *more)


def _init(folder):
    (folder / "init.safetensors").write_bytes(bytes(100))
    return ["--init", folder / "init.safetensors"]


@pytest.mark.parametrize("more", [lambda folder: ["--data", folder], _init], ids=["no data", "no model"])
def test_a_run_that_cannot_begin_leaves_nothing(begun, tiny_heads, tmp_path, more):
    (tmp_path / "empty").mkdir()
    done = train(begun[0], tiny_heads, tmp_path / "run", *more(tmp_path / "empty"))
    ends_in_one_line(done, "empty")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def replaced(name, content):
    def damage(out):
        (out / name).write_bytes(content)

    return damage


def cut(name):
    def damage(out):
        content = (out / name).read_bytes()
        (out / name).write_bytes(content[: len(content) // 2])

    return damage


def folder(name):
    def damage(out):
        if (out / name).is_file():
            (out / name).unlink()
        (out / name).mkdir()

    return damage


def file_for(name):
    def damage(out):
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).write_bytes(b"a file")

    return damage


def state(change):
    def damage(out):
        content = torch.load(out / "state.pt", weights_only=True)
        changed = change(content)
        torch.save(content if changed is None or isinstance(changed, bool) else changed, out / "state.pt")

    return damage


def first_moment(content):
    return next(iter(content["optimiser"]["state"].values()))


def first_weight(content):
    return next(tensor for tensor in content["model"].values() if tensor.dim() > 1)


NO_STATE = "state.pt: not a readable training state; remove it to begin anew"
NOT_ITS = "state.pt: not the state of this run ("
REFUSED = {
    "state cut": (cut("state.pt"), NO_STATE),
    "state empty": (replaced("state.pt", b""), NO_STATE),
    "state of text": (replaced("state.pt", b"hello" * 100), NO_STATE),
    "state a folder": (folder("state.pt"), "state.pt: is a folder"),
    "state a list": (state(lambda c: [1, 2]), NOT_ITS),
    "state a tensor": (state(lambda c: torch.zeros(3)), NOT_ITS),
    "no position": (state(lambda c: c.pop("iteration") and None), NOT_ITS),
    "position in words": (state(lambda c: {**c, "iteration": "two"}), NOT_ITS),
    "position below 0": (state(lambda c: {**c, "iteration": -3}), NOT_ITS),
    "position a fraction": (state(lambda c: {**c, "iteration": 1.5}), NOT_ITS),
    "no model": (state(lambda c: {**c, "model": {}}), NOT_ITS),
    "model of another shape": (state(lambda c: {**c, "model": dict.fromkeys(c["model"], torch.zeros(2))}), NOT_ITS),
    "no optimiser": (state(lambda c: {**c, "optimiser": {}}), NOT_ITS),
    "a moment gone": (state(lambda c: first_moment(c).pop("exp_avg") is None), NOT_ITS),
    "no step": (state(lambda c: first_moment(c).pop("step") is None), NOT_ITS),
    "moments of another shape": (state(lambda c: first_moment(c).update(exp_avg=torch.zeros(1))), NOT_ITS),
    "averages of another shape": (
        state(lambda c: {**c, "average": [torch.zeros(1) for _ in c["average"]]}),
        NOT_ITS,
    ),
    "no averages": (state(lambda c: {**c, "average": []}), NOT_ITS),
    "weights NaN": (state(lambda c: first_weight(c).fill_(torch.nan) is None), NOT_ITS),
    "moments infinite": (state(lambda c: first_moment(c)["exp_avg_sq"].fill_(torch.inf) is None), NOT_ITS),
    "settings cut": (cut("settings.json"), "settings.json: not readable as JSON"),
    "settings a list": (replaced("settings.json", b"[]"), "settings.json: "),
    "settings of another run": (replaced("settings.json", b"{}"), "settings.json: "),
    "settings a folder": (folder("settings.json"), "settings.json: is a folder"),
    "log of bytes": (replaced("log.jsonl", b"\xff\xfe\n\n"), "log.jsonl: not readable as JSON, line by line"),
    "log without positions": (replaced("log.jsonl", b"{}\n"), "log.jsonl: not readable as JSON, line by line"),
    "log a folder": (folder("log.jsonl"), "log.jsonl: is a folder"),
    "pictures a file": (file_for("pictures"), "pictures"),
    "a picture a folder": (folder("pictures/00000004.png"), "00000004.png"),
    "checkpoint a folder": (folder("checkpoint.safetensors"), "checkpoint.safetensors: is a folder"),
    "TensorBoard's a file": (file_for("tensorboard"), "tensorboard"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_damaged_file_of_a_run_is_told(again, fault):
    out, go_on = again
    damage, message = REFUSED[fault]
    damage(out)
    if fault.startswith("TensorBoard"):
        pytest.importorskip("tensorboard")
    kept = {path: path.read_bytes() for path in (out / "checkpoint.safetensors", out / "state.pt") if path.is_file()}
    ends_in_one_line(go_on(), message)
    assert {path: path.read_bytes() for path in kept} == kept


GOES_ON = {
    "no settings": lambda out: (out / "settings.json").unlink(),
    "no log": lambda out: (out / "log.jsonl").unlink(),
    "log cut in its last line": lambda out: (out / "log.jsonl").write_bytes((out / "log.jsonl").read_bytes()[:-9]),
    "checkpoint cut": cut("checkpoint.safetensors"),  # it is written anew
    "no state": lambda out: (out / "state.pt").unlink(),  # it begins anew
    "no pictures": lambda out: shutil.rmtree(out / "pictures"),
}


@pytest.mark.parametrize("fault", GOES_ON)
def test_a_run_goes_on_without_what_it_can_make_anew(again, fault):
    out, go_on = again
    GOES_ON[fault](out)
    done = go_on()
    assert done.exit_code == 0, done.stderr
    assert load_model(out / "checkpoint.safetensors").config == CONFIG
    assert torch.load(out / "state.pt", weights_only=True)["iteration"] == 4


@pytest.mark.parametrize("rate", [10.0, 100.0])
def test_a_run_that_diverges_keeps_the_last_good_files(again, tmp_path, begun, tiny_heads, rate):
    """Under every rate: no file that our own reader refuses, and none that was good is gone."""
    config, out = tmp_path / "wild.toml", tmp_path / "wild"
    config.write_text(
        tiny.toml(
            model=tiny.SHALLOW,
            optimisation={"learning_rate": rate},
            schedule={"iterations": 6, "checkpoint_every": 1, "validate_every": 1, "pictures_every": 1},
        )
    )
    kept = (out / "checkpoint.safetensors").exists
    done = train(config, tiny_heads, out, "--no-validate")
    ends_in_one_line(done, "what was saved before is sound" if kept() else "nothing was saved before")
    if kept():
        load_model(out / "checkpoint.safetensors")
    if (out / "state.pt").exists():
        saved = torch.load(out / "state.pt", weights_only=True)
        assert all(torch.isfinite(tensor).all() for tensor in saved["model"].values())


@pytest.mark.parametrize("what", ["weight", "moment", "average"])
def test_what_becomes_infinite_in_a_step_is_not_saved(again, monkeypatch, what):
    out, go_on = again
    kept = {name: (out / name).read_bytes() for name in ("checkpoint.safetensors", "state.pt")}
    step = _Run.step

    def spoiling(self, batch):
        losses = step(self, batch)
        if what == "weight":
            next(self._stage.parameters()).data.view(-1)[0] = torch.inf
        elif what == "moment":
            next(iter(self._optimiser.state.values()))["exp_avg_sq"].view(-1)[0] = torch.inf
        else:
            self._average.state()[0].view(-1)[0] = torch.nan
        return losses

    monkeypatch.setattr(_Run, "step", spoiling)
    monkeypatch.setattr(_Run, "report", lambda self, losses: None)  # which sees a loss that is not finite, later
    ends_in_one_line(done := go_on(), "NaN or infinite at iteration")
    assert "what was saved before is sound" in done.stderr
    assert {name: (out / name).read_bytes() for name in kept} == kept


def test_what_validation_needs_is_read_before_the_first_iteration(tmp_path, begun, tiny_heads):
    config, _ = begun
    damaged, long = tmp_path / "data", tmp_path / "long.toml"
    shutil.copytree(tiny_heads, damaged)
    picture = sorted((damaged / "imgs" / "test").rglob("*.*"))[4]  # of the targets, not the source
    picture.write_bytes(b"no picture")
    done = train(config, damaged, tmp_path / "run")
    ends_in_one_line(done, f"{picture.name}")
    assert "validation: " in done.stderr
    assert not (tmp_path / "run" / "log.jsonl").exists()
    long.write_text(tiny.toml(model=tiny.SHALLOW, schedule={"validated_every": 50}))
    done = train(long, tiny_heads, tmp_path / "run")
    ends_in_one_line(done, "expected a sequence of more than 50 frames, found none")
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_a_log_holds_only_numbers(begun):
    _, out = begun

    def refuse(word):
        raise ValueError(word)

    for line in (out / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)
