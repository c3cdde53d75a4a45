import os

import onnx
import pytest

from tests.export.convert.converting import TOOLS, install
from tests.export.networks import avatar_like


@pytest.fixture(autouse=True)
def no_sdk(monkeypatch):
    """No SDK of the person who runs the tests."""
    for name in ("SNPE_ROOT", "QAIRT_SDK_ROOT", "QNN_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def model_path(tmp_path):
    path = tmp_path / "avatar.onnx"
    onnx.save(avatar_like(), path)
    return path


@pytest.fixture
def needs_package():
    pytest.importorskip("onnxruntime_qnn", reason="the extra [qairt] is not installed")


@pytest.fixture(params=TOOLS)
def sdk(request, tmp_path, monkeypatch):
    """A target whose tool the stand-in is, on PATH."""
    folder = tmp_path / "on path"
    install(folder, TOOLS[request.param])
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_RECORD", str(tmp_path / "record"))
    return request.param
