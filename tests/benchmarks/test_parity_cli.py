"""`bilayer-parity` as a user runs it."""

import json
import re
import subprocess
import sys
from functools import partial

import pytest
from click.testing import CliRunner

from bilayer.benchmarks.parity.cli import main
from tests import forked
from tests.benchmarks.avatars import export_tiny, rewritten
from tests.export.test_bulk import NAMES, write_photos
from tests.export.test_bulk import run as export


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return export_tiny(tmp_path_factory.mktemp("case_a"))


def test_a_broken_avatar_ends_with_4_and_all_reports(bundle, tmp_path):
    flipped = rewritten(bundle, align_corners=True)
    page = tmp_path / "parity.html"
    arguments = [flipped.folder, "--quick", "--poses", "1", "--layers", "--html", page, "--json"]
    command = [sys.executable, "-m", "bilayer.benchmarks.parity.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("\n") == 1
    assert "avatar.json says align_corners True, the network was made for False" in done.stderr
    report = json.loads(done.stdout)
    assert (report["verdict"], report["poses"]) == ("broken", 1)
    assert [rung["name"] for rung in report["rungs"]] == ["onnx", "fp16-hybrid"]
    assert [rung["emulated"] for rung in report["rungs"]] == [False, True]
    assert {missing["name"] for missing in report["not_run"]} == {"trained", "dlc", "device"}
    assert report["rungs"][0]["truth"]["results"]["lf_rgb"]["psnr_db"] > 100
    text = page.read_text()
    assert text.count("<figure>") == 2
    assert text.count("<svg") == 2
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    assert all(">fp16-hybrid</text>" in chart for chart in text.split("<svg")[1:])
    verdict, failure, picture, table = (text.index(it) for it in ("badge broken", "<li>", "<svg", "<table"))
    assert verdict < failure < picture < text.index("data:image/png") < table


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "Missing argument 'BUNDLE'"),
        (["no/such"], 3, "no such file or folder"),
        (["out", "--checkpoint", "c.safetensors"], 2, "what --photo was exported with"),
        (["out", "--between", "float64", "onnx"], 2, "--between is for --layers"),
        (["out", "--poses", "0"], 2, "--poses"),
        (["out", "--frames", "9"], 2, "--frames is called --poses here"),
        (["--device-mode", "fp16"], 2, "--device-mode is called --device-precision here"),
        (["out", "--device-precision", "hybrid"], 2, "'hybrid' is called 'fp16-hybrid' here"),
        (["out", "--device-precision", "float16"], 2, "'float16' is called 'fp16' here"),
        (["out", "--photo", "no.jpg"], 3, "no.jpg: no such file"),
        ([__file__, "--drive", "no.npy"], 3, "no.npy: no such file"),
    ],
)
def test_wrong_arguments(arguments, code, words):
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


def test_help_imports_nothing_slow():
    code = "import sys; from bilayer.benchmarks.parity.cli import main; main(['--help'], standalone_mode=False); "
    code += "assert not {'torch', 'numpy', 'onnx', 'onnxruntime', 'numba'} & set(sys.modules), 'slow imports'"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--device-outputs" in shown.stdout


parity = partial(forked.run, "parity")


def test_a_folder_of_avatars_has_a_verdict_on_each(tmp_path):
    export(write_photos(tmp_path / "photos"), tmp_path / "out")
    done = parity(tmp_path / "out", "--quick", "--poses", 1, "--jobs", 2, "--json")
    assert done.returncode in (0, 4), done.stderr  # the tiny model's FP16 is what it is
    rows = json.loads(done.stdout)["avatars"]
    assert [row["avatar"] for row in rows] == [f"{name}/avatar.json" for name in NAMES]
    alone = json.loads(parity(tmp_path / "out" / NAMES[2], "--quick", "--poses", 1, "--json").stdout)
    assert rows[2]["report"] | {"failures": None} == alone | {"failures": None}
    texture = tmp_path / "out" / NAMES[1] / "avatar.safetensors"
    texture.write_bytes(texture.read_bytes()[:-4])
    done = parity(tmp_path / "out", "--quick", "--poses", 1)
    assert done.returncode in (3, 4)
    assert f"failed: {NAMES[1]}/avatar.json: " in done.stderr
    assert parity(tmp_path / "out", "--layers").returncode == 2
    assert parity(tmp_path / "out" / NAMES[0], "--jobs", 2).returncode == 2
