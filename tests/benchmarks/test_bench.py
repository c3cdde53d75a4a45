"""bilayer-bench: what is counted, computed and timed, and how it is shown."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bilayer.benchmarks.report.charts import BLUE, OCHRE, bar_charts
from bilayer.benchmarks.report.rates import DEVICES, DeviceRates
from bilayer.benchmarks.speed.cli import main
from bilayer.benchmarks.speed.costs import count_reports, roofline_reports
from bilayer.benchmarks.speed.export_variants import make_generator, variants_of
from bilayer.benchmarks.speed.network import NAIVE, TORCH, measure
from bilayer.benchmarks.speed.options import NetworkBench
from bilayer.benchmarks.speed.peak import PEAK
from bilayer.benchmarks.speed.report import BenchReport, BenchRow
from bilayer.benchmarks.speed.roofline import frame_milliseconds, layer_costs
from bilayer.benchmarks.speed.timing import Samples, take_turns
from bilayer.model import ModelConfig
from bilayer.model.config import PRESETS
from bilayer.runtime.engines.choice import installed
from tests import forked, golden
from tests.export.bulk.bulk_photos import manifest, write_photos
from tests.training import tiny

SVG = "{http://www.w3.org/2000/svg}"
times = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=30)


bench = partial(forked.run, "bench", strict=True)


def bench_alone(*arguments):
    """In a process of its own."""
    command = [sys.executable, "-W", "error", "-m", "bilayer.benchmarks.speed.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@given(times)
def test_statistics_are_numpys(values):
    samples = Samples(tuple(values))
    assert samples.least == min(values)
    assert samples.median == pytest.approx(np.median(values))
    assert samples.p90 == pytest.approx(np.percentile(values, 90))


@given(times, st.floats(0.1, 10))
def test_a_ratio_is_turn_by_turn(values, factor):
    slower = Samples(tuple(factor * value for value in values))
    assert slower.ratio_to(Samples(tuple(values))) == pytest.approx(factor)


def test_sides_take_turns_after_warming_up():
    calls = []
    sides = {name: lambda name=name: calls.append(name) for name in "ab"}
    samples = take_turns(sides, repeats=3, warmup=2, title="test")
    assert "".join(calls) == "ab" * 5
    assert {name: len(side.milliseconds) for name, side in samples.items()} == {"a": 3, "b": 3}


def test_counts_of_the_medium_model_are_the_papers():
    networks, blocks, variants, published = count_reports("medium")
    gmacs = {row.name: row.columns["GMAC"] for row in variants.rows}
    assert gmacs["the paper's Table 2"] == 4.32
    models = {row.name: row.columns for row in published.rows}
    for name, columns in models.items():
        assert columns["here, as trained"] == pytest.approx(columns["paper, GMAC"], rel=0.06), name
    assert {"small", "medium", "large"} <= set(models)
    assert gmacs["as trained"] == pytest.approx(4.314, abs=1e-3)
    assert gmacs["+ skip first"] == pytest.approx(3.946, abs=1e-3)
    assert gmacs["deconv"] == gmacs["phase"] == pytest.approx(2.499, abs=1e-3)
    assert sum(row.columns["deconv"] for row in blocks.rows) == pytest.approx(2499, abs=1)
    assert [row.name for row in blocks.rows] == ["pose", *(f"block{i}" for i in range(6)), "head"]
    assert sum(row.columns["parameters"] for row in networks.rows) == 122_403_657


def test_a_roofline_is_arithmetic_or_memory_whichever_is_longer():
    generator = variants_of(make_generator("small")[0])["deconv"]
    costs = layer_costs(generator)
    fast_memory = DeviceRates("", {"fp16": 1000.0, "fp32": 500.0}, 1e9, "")
    fast_arithmetic = DeviceRates("", {"fp16": 1e12, "fp32": 1e12}, 10.0, "")
    macs = sum(generator.macs().values())
    assert frame_milliseconds(costs, fast_memory, "fp16") == pytest.approx(2 * macs / 1e12 * 1e3, rel=1e-3)
    moved = sum(cost.elements for cost in costs)
    assert frame_milliseconds(costs, fast_arithmetic, "fp16") == pytest.approx(2 * moved / 10e9 * 1e3, rel=1e-3)
    for device in DEVICES:
        assert frame_milliseconds(costs, device, "fp32") > frame_milliseconds(costs, device, "fp16")
        assert device.source


def test_no_computed_number_passes_for_a_measured_one():
    for report in [*roofline_reports("small", "fp16"), *count_reports("small")]:
        assert not report.measured
        assert "Computed, not measured" in report.to_markdown()
        assert report.to_dict()["measured"] is False


def test_every_side_of_the_network_computes_the_same(monkeypatch):
    """Every variant on every engine that this machine has, each in its precision."""
    monkeypatch.setitem(PRESETS, "small", ModelConfig(**tiny.MODEL))
    said = []
    *reports, quickest = measure(NetworkBench(preset="small", threads=(1,), repeats=2, warm_up=0), said.append)
    variants = tuple(variants_of(make_generator("small")[0]))
    least = {"fp32": 100, "bf16": 20, "fp16": 35}  # dB
    for report in reports:
        names = [row.name for row in report.rows]
        assert names[:2] == [TORCH, NAIVE]
        for variant in variants:
            assert f"{variant}, onnxruntime fp32" in names
            assert (f"{variant}, openvino fp32" in names) == installed("openvino")
            assert (f"{variant}, ncnn fp32" in names) == (installed("ncnn") and variant != "phase")
        assert names[2] == PEAK
        for row in report.rows[3:]:
            assert row.columns["dB"] >= least[row.columns["precision"]]
            assert int(row.columns["of peak"].rstrip("%")) > 0
            assert row.columns["ms at peak"] > 0
        assert all(row.samples.least > 0 for row in report.rows)
    assert len(said) == len(set(said))
    assert not any("/" in line for line in said)  # no path of a folder that is gone
    for row in quickest.rows:
        threads, precision = row.name.split(", ")
        (report,) = (report for report in reports if report.settings["threads"] == int(threads.split()[0]))
        same = [other for other in report.rows[3:] if other.columns["precision"] == precision]
        assert row.columns["x faster than naive"] == max(other.columns["x faster than naive"] for other in same)
        assert row.columns["pair"] in [other.name for other in same]


def test_each_number_of_threads_has_its_report(monkeypatch):
    monkeypatch.setitem(PRESETS, "small", ModelConfig(**tiny.MODEL))
    *reports, quickest = measure(
        NetworkBench(preset="small", threads=(1, 2), repeats=1, warm_up=0, engines=("onnxruntime",)), print
    )
    assert [report.settings["threads"] for report in reports] == [1, 2]
    assert [row.name for row in quickest.rows] == ["1 thread, fp32", "2 threads, fp32"]


def test_a_report_shows_as_markdown_json_and_picture():
    samples = {"ours": Samples((1.0, 2.0, 3.0)), "<theirs>": Samples((2.0, 4.0, 6.0))}
    rows = tuple(BenchRow(name, side, {"GMAC": 1.5}) for name, side in samples.items())
    report = BenchReport("Test", rows, {"threads": 1}, ("numpy",), baseline="ours", notes=("A note.",))
    text = report.to_markdown()
    assert "| <theirs> |   2.00 |      4.00 |   5.60 |   2.00 |" in text
    assert f"numpy {np.__version__}" in text
    assert "A note." in text
    assert json.loads(json.dumps(report.to_dict()))["rows"][1]["median_ms"] == 4.0
    counts = BenchReport("Costs", (BenchRow("a", columns={"GMAC": 4}), BenchRow("b")), measured=False, bar="GMAC")
    picture = bar_charts([report.chart(), counts.chart()])
    assert picture == bar_charts([report.chart(), counts.chart()])
    root = ET.fromstring(picture)
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    for shown in ("Test", "Costs", "<theirs>", "2 ms  ×1.00", "4 ms  ×2.00", "GMAC, computed"):
        assert texts.count(shown) == 1, shown
    colours = {BLUE: 2, OCHRE: 1}  # two timed bars, one computed
    widths = {colour: bar_widths(root, colour) for colour in colours}
    assert {colour: len(found) for colour, found in widths.items()} == colours
    assert widths[BLUE][1] == pytest.approx(2 * widths[BLUE][0], abs=0.1)
    assert BenchReport("Empty", (BenchRow("a"),)).chart() is None


def bar_widths(root, colour):
    """Of the rectangles of that colour in an SVG, as matplotlib writes them: M x y L x y ..."""
    paths = [path for path in root.iter(f"{SVG}path") if path.get("style") == f"fill: {colour}"]
    points = [[float(x) for x in re.findall(r"[ML] (\S+)", path.get("d"))] for path in paths]
    return [max(xs) - min(xs) for xs in points]


def test_a_picture_needs_matplotlib_and_says_so_before_it_measures(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("bilayer.benchmarks.speed.costs.count_reports", None)  # nobody gets as far as to call it
    done = CliRunner().invoke(main, ["macs", "--plot", str(tmp_path / "a.svg")])
    assert (done.exit_code, done.stdout, list(tmp_path.iterdir())) == (5, "", [])
    assert "pip install 'bilayer[report]'" in done.stderr


def test_the_command_prints_json_and_draws(tmp_path):
    process = bench("macs", "--preset", "small", "--json")
    assert process.returncode == 0, process.stderr
    assert [report["benchmark"] for report in json.loads(process.stdout)["benchmarks"]][2] == "A frame by variant"
    (tmp_path / "folder.svg").mkdir()
    process = bench("roofline", "--preset", "small", "--plot", tmp_path / "folder.svg")
    assert (process.returncode, process.stdout, process.stderr.count("\n")) == (3, "", 1)  # before anything is computed


def test_help_names_every_part():
    text = bench("--help").stdout
    names = ("network", "sampler", "frame", "export", "init", "macs", "roofline", "bulk", "variants")
    assert all(name in text for name in names)


def test_many_people_cost_what_each_way_takes_and_are_the_same(tmp_path, face_networks):
    """By a command each, one process and two; a photo that fails is counted by all."""
    photos = write_photos(tmp_path / "photos")
    manifest(photos, ("ann", "ben", "dora"))  # two, as there are two processes
    (photos / "dora.png").write_text("no photo")
    process = bench_alone(
        "bulk", photos / "all.jsonl", "--checkpoint", golden.CASE_A / "runs", "--target", "none", "--json"
    )
    assert process.returncode == 0, process.stderr
    (report,) = json.loads(process.stdout)["benchmarks"]
    rows = {row["name"]: (row["photos"], row["refused"]) for row in report["rows"]}
    assert rows == dict.fromkeys(["a command each", "one process", "two processes"], (3, 1))
    assert all(row["s an avatar"] > 0 for row in report["rows"])
