"""Inputs that once broke a reader, or are telling, do not break it; and the fuzzer finds a fault where there is one."""

from contextlib import nullcontext

import pytest

from bilayer.runtime.errors import CheckpointError
from tests.hostile import fuzz, fuzz_targets

KEPT = fuzz.kept()


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_input_is_read_or_refused(name, tmp_path):
    fuzz.meet(KEPT[name][0], tmp_path, *KEPT[name][1:])


@pytest.mark.parametrize("name", fuzz_targets.TARGETS)
def test_every_seed_is_a_right_file(name, goods, tmp_path):
    """But for the .safetensors', whose one tensor is no network's: its header is what is fuzzed."""
    for number, (suffix, content) in enumerate(fuzz_targets.TARGETS[name].seeds(goods)):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(content)
        with pytest.raises(CheckpointError) if name == "safetensors" else nullcontext():
            fuzz_targets.TARGETS[name].read(path)


def test_a_reader_that_raises_anything_else_is_found(monkeypatch, tmp_path):
    def careless(path):
        if b"9999" in path.read_bytes():
            raise KeyError("planted")

    monkeypatch.setitem(fuzz_targets.TARGETS, "planted", fuzz_targets.Target(careless, lambda goods: [(".a", b"seed")]))
    monkeypatch.setattr(fuzz, "CORPUS", tmp_path / "corpus")
    monkeypatch.setattr(fuzz.resource, "setrlimit", lambda *_: None)
    found = fuzz.fuzz("planted", 5, 10_000)
    assert found["executions"] > 100
    assert "planted" in found["faults"][0]
    kept = fuzz.kept()
    assert kept
    assert all(b"9999" in content for _, _, content in kept.values())
