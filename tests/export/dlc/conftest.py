"""Files that Qualcomm's package makes, for all test processes once, and Netron's reader."""

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import onnx
import pytest

from bilayer.export.convert.run import convert_onnx
from tests.export.dlc.dlc_files import NETWORKS, WRITTEN
from tests.export.networks import avatar_like

NETRON = "9.3.3"


@pytest.fixture(scope="session")
def real(once_for_all):
    """Path of a .dlc that Qualcomm's package made, and its model, by the network's name."""
    pytest.importorskip("onnxruntime_qnn", reason="the extra [qairt] is not installed")

    @cache
    def make(name):
        model = avatar_like(**NETWORKS[name])

        def convert(folder):
            onnx.save(model, folder / f"{name}.onnx")
            convert_onnx(folder / f"{name}.onnx", folder / f"{name}.dlc")

        return once_for_all(f"dlc of {name}", convert) / f"{name}.dlc", model

    return make


@pytest.fixture(scope="session")
def netron(request):
    """Netron's own reader, without a window: its model as a dictionary."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Netron's reader needs node")
    folder = Path(request.config.cache.mkdir(f"netron-{NETRON}"))
    package = folder / "netron"
    if not (package / "package.json").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
        done = subprocess.run([*command, "--target", folder, f"netron=={NETRON}"], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"netron {NETRON} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
        (package / "package.json").write_text('{"type": "module"}')

    def read(path):
        command = [node, Path(__file__).with_name("netron_open.mjs"), package, path]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return read


@pytest.fixture(scope="session")
def files(real):
    """A file of every kind that there is here."""
    try:
        return {**WRITTEN, "v4 real": real("norms")[0].read_bytes()}
    except pytest.skip.Exception:
        return WRITTEN
