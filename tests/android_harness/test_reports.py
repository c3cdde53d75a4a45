"""Reports of results: that no time is shown that is none, and no name breaks a page."""

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from bilayer.android_harness.cli import main
from bilayer.android_harness.report.pictures import page as html_page
from bilayer.android_harness.report.tables import make_report
from bilayer.android_harness.results import (
    read_result,
    write_result,
)
from bilayer.benchmarks.report.charts import ALARM
from bilayer.benchmarks.report.document import Picture
from bilayer.runtime.errors import InputError
from tests.android_harness.made_results import WRONG, make, make_sampler, markdown


def test_a_devices_times_are_shown_with_how_they_were_taken(tmp_path):
    text = markdown([make(throttled=["thermal status 3 of 6"])])
    for expected in (
        "41.98 (41.50 to 42.75)",
        "44.15 (44.00 to 45.00)",
        " 22.7 ",
        "100 x 3",
        "61.2",
        "exact",
        "0.041",
    ):
        assert expected in text, expected
    for expected in ("Test Phone 1", "QD1A", "1.32.0.555", "2026-01-02", "N = 100", "device", "could not run: no such"):
        assert expected in text, expected
    assert "THROTTLED: thermal status 3 of 6" in text
    assert "block0" in text
    assert "No time is shown" not in text


def test_a_report_begins_with_its_verdict():
    good = make(sampler=replace(make_sampler(), rows=make_sampler().rows[:3]))
    throttled = make(throttled=["thermal status 3 of 6"])
    bad = make(parity=WRONG)
    for results, verdict in (([good], "passed"), ([good, throttled], "warned"), ([bad, throttled], "broken")):
        report = make_report(results)
        assert (report.verdict, bool(report.findings)) == (verdict, verdict != "passed")
        assert report.markdown().startswith(f"# Avatars on devices: {verdict}\n")
        page = report.page([Picture("<svg></svg>", "drawn")])
        places = [page.index(text) for text in (f"badge {verdict}", "<svg", "<table")]
        assert places == sorted(places)
    assert make_report([bad]).facts == {
        "frames against ONNX Runtime, the worst mode": "9.0 dB"
    }  # no time of a wrong one
    assert (
        "Test Phone 1, sampler neon on any cores: WRONG RESULTS" in make_report([make(sampler=make_sampler())]).findings
    )


@pytest.mark.parametrize("measured_on", ["emulated", "stand-in"])
def test_no_time_is_shown_that_was_not_taken_on_a_device(measured_on):
    """Even if a result should hold one."""
    page = re.sub(r"<[^>]*>", " ", html_page([make(measured_on)]))  # plots hold coordinates
    for text in (markdown([make(measured_on)]), page):
        for number in ("41.98", "42.75", "44.15", "903", "22.7", "3.500", "42.0 +", "585", "427", "53"):
            assert number not in text, number
        assert f"({measured_on})" in text
        assert "58.5" in text
        assert "No time is shown" in text


def test_a_whole_frame_is_the_network_and_then_the_quickest_sampler_that_is_right():
    text = markdown([make(sampler=make_sampler())])
    line = next(line for line in text.splitlines() if "GPU_FLOAT16" in line and "numba" in line)
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[1:-1] == ["Test Phone 1", "GPU_FLOAT16", "44.15", "1.88", "46.02", "21.7", "22.7", "numba"]
    for expected in ("prime, 2842 MHz", "held below its top clock", "1.925", "7.875", "300 frames after 60", "merged"):
        assert expected in text, expected
    assert "77 differ, by 9 of 255 at most | WRONG RESULTS" in text
    assert "42.0 + 2.2 + 1.9 ms" in html_page([make(sampler=make_sampler())])
    assert "## A whole frame" not in markdown([make()])


@pytest.mark.parametrize("measured_on", ["emulated", "stand-in"])
def test_the_samplers_times_are_shown_of_a_device_alone(measured_on, tmp_path):
    result = make(measured_on, None, sampler=make_sampler())
    for text in (markdown([result]), html_page([result])):
        for number in ("1.875", "1.88", "7.875", "5.500", "1.925"):
            assert number not in text, number
        assert "## A whole frame" not in text
        assert "the same" in text
    write_result(tmp_path / "a.json", result)
    with pytest.raises(InputError, match=f"sampler: holds times, but was measured on {measured_on}"):
        read_result(tmp_path / "a.json")


class Tags(HTMLParser):
    """Every tag opened is closed, and nothing is loaded or run."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], set()

    def handle_starttag(self, tag, attributes):
        assert tag not in ("script", "link", "img", "iframe", "object")
        assert not any(name.startswith(("on", "href", "src")) for name, _ in attributes)
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_html_is_one_file_that_loads_nothing():
    hostile = "<script>alert(1)</script> | `x` \n\"'&"
    page = html_page([make(), make("emulated", None, model=hostile)])
    tags = Tags()
    tags.feed(page.replace("<!doctype html>", ""))
    assert tags.open == []
    assert {"svg", "table", "th", "td", "h1", "h2", "h3", "code"} <= tags.seen
    assert "<script" not in page
    assert "42.0 + 2.2 ms" in page
    assert "<title>block0: 93 %</title>" in page
    assert "<title>warp dB: 61.2</title>" in page
    assert "paper: 42 ms" in page


def test_a_process_that_was_slowed_down_is_flagged_by_itself():
    text = markdown([make()])
    table = text.partition("## Clocks and heat")[2].partition("##")[0]
    first, second, third = (re.split(r" *\| *", line)[3:-1] for line in table.splitlines() if "Phone 1" in line)
    assert first == ["1", "5.0", "585", "585", "40.2 to 45.2", ""]
    assert second == ["2", "5.0", "585", "585", "44.5 to 49.5", ""]
    assert third == ["3", "5.0", "427", "499", "52.8 to 57.8", "SLOWED DOWN"]
    page = html_page([make()])
    assert "a red ground" in page
    assert len(re.findall(f"<use [^>]*fill: {ALARM}", page)) == 6  # all moments of the third: its limit has fallen
    assert page.count(f"fill: {ALARM}; fill-opacity: 0.2") == 2  # its ground, in both panels
    assert page.count("fill: var(--shade)") == 4  # the others'
    assert page.count(">GPU_FLOAT16 3</text>") == 1
    assert "a red ground" not in html_page([make("emulated")])


def test_hostile_names_do_not_break_the_tables():
    text = markdown([make(model="a|b\n| c | <b>")])
    widths = {}
    for line in text.splitlines():
        if line.startswith("|"):
            widths.setdefault(len(line), []).append(line)
    assert "a/b/ c / ‹b›".replace(" ", "") in text.replace(" ", "")
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1


def test_hostile_names_do_not_break_the_charts():
    results = [make(model=name) for name in ("$\\frac{$", "中文 %s {0}", "]]></svg><script>", "&lt;b&gt;")]
    page = html_page(results)
    assert html_page(results) == page  # to the byte
    assert "<script" not in page
    assert page.count("</svg>") == 3 + len(results)


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_page_needs_packages_and_says_which(package, tmp_path, monkeypatch):
    write_result(tmp_path / "a.json", make())
    monkeypatch.setitem(sys.modules, package, None)
    done = CliRunner().invoke(main, ["report", str(tmp_path / "a.json"), "--html", str(tmp_path / "r.html")])
    assert (done.exit_code, done.stdout, (tmp_path / "r.html").exists()) == (5, "", False)
    assert package in done.stderr
    assert "pip install 'bilayer[report]'" in done.stderr


def test_reports_of_the_command(tmp_path):
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, result in zip(paths, (make(), make("emulated", None)), strict=True):
        write_result(path, result)
    done = CliRunner().invoke(main, ["report", *map(str, paths), "--html", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.output
    assert done.stdout == markdown([read_result(path) for path in paths])
    assert (tmp_path / "r.html").read_text() == html_page([read_result(path) for path in paths])
    as_json = CliRunner().invoke(main, ["report", *map(str, paths), "--json"])
    assert [one["measured_on"] for one in json.loads(as_json.stdout)["results"]] == ["device", "emulated"]


def limits(measured_on, platform="msmnile", mode=None):
    """The rows of the table of published rates, by runtime; None without such a table. `mode`: of the first row."""
    result = make(measured_on)
    if mode is not None:
        result = replace(result, rows=[replace(result.rows[0], mode=mode, title=mode), *result.rows[1:]])
    text = markdown([replace(result, device=replace(result.device, platform=platform))])
    if "## At best, by published rates" not in text:
        return None
    table = text.split("## At best, by published rates")[1].split("\n\n")
    rows = next(part for part in table if part.lstrip().startswith("|")).strip().splitlines()[2:]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert "Computed, not measured" in text
    assert "claimed at the chip's launch and confirmed by nothing since" in text
    return {row[1]: row[2:] for row in cells}


def test_what_a_chip_could_do_stands_beside_what_was_measured():
    """3.946 GMAC, two operations each, at 1797.1 and 898.5 GFLOPS and 7 TOPS; the runtime alone took 41.98 ms."""
    rows = limits("device")
    assert rows["GPU_FLOAT16"] == ["FP16", "3.95", "1797 GFLOPS", "4.39", "41.98", "10 %"]
    assert rows["GPU_FLOAT32_16_HYBRID"] == ["FP32", "3.95", "898 GFLOPS", "8.78", "-", "-"]
    assert rows["Hexagon, GPU and CPU together"] == ["int8", "3.95", "7 TOPS", "1.13", "-", "-"]


def test_integers_on_hexagon_stand_beside_the_rate_of_integers():
    rows = limits("device", mode="htp")
    assert rows["htp"] == ["int8", "3.95", "7 TOPS", "1.13", "41.98", "3 %"]
    assert "Hexagon, GPU and CPU together" not in rows


def test_a_limit_is_no_measurement_and_unknown_chips_have_none():
    assert {tuple(row[-2:]) for row in limits("emulated").values()} == {("-", "-")}
    assert limits("device", platform="unheard of") is None
