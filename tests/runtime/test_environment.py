"""A variable that is set for a moment only."""

import os

import pytest

from bilayer.runtime.environment import environment_default


def test_a_missing_variable_is_set_inside_and_gone_afterwards(monkeypatch):
    monkeypatch.delenv("BILAYER_X", raising=False)
    with environment_default("BILAYER_X", "1"):
        assert os.environ["BILAYER_X"] == "1"
    assert "BILAYER_X" not in os.environ
    with pytest.raises(ImportError), environment_default("BILAYER_X", "1"):
        raise ImportError
    assert "BILAYER_X" not in os.environ


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("BILAYER_X", "0")
    with environment_default("BILAYER_X", "1"):
        assert os.environ["BILAYER_X"] == "0"
    assert os.environ["BILAYER_X"] == "0"
