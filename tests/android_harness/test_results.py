"""Result files and reports: what they hold, what they refuse, and that no time is shown that is none."""

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from bilayer import android_harness
from bilayer.android_harness.bench.session import Session
from bilayer.android_harness.cli import main
from bilayer.android_harness.device.probe import parse_facts
from bilayer.android_harness.report.pictures import page as html_page
from bilayer.android_harness.report.tables import make_report
from bilayer.android_harness.results import (
    RESULT,
    BenchProtocol,
    FrameTimes,
    Latency,
    LayerResult,
    ModelInfo,
    ModeResult,
    Moment,
    Parity,
    Result,
    SamplerRow,
    SamplerTimes,
    Spread,
    Tools,
    read_result,
    write_result,
)
from bilayer.benchmarks.report.charts import ALARM
from bilayer.benchmarks.report.document import Picture
from bilayer.runtime.errors import InputError

SCHEMA = Path(android_harness.__file__).parent / "result.schema.json"
EMULATED = {"delta_uv": 57.5, "lf_rgb": 60.0, "seg": 64.75}
PARITY = Parity(
    8, "fp16", {"delta_uv": 61.25, "lf_rgb": 58.5, "seg": 200.0, "frame": 49.0}, 0.9975, 0.041, 0, EMULATED, None
)
WRONG = replace(PARITY, psnr_db={"delta_uv": 12.0, "lf_rgb": 30.0, "seg": 41.0, "frame": 9.0})
LATENCY = Latency(Spread(41.98, 41.5, 42.75), Spread(44.15, 44.0, 45.0), Spread(903.746, 900.0, 910.0))


FRAME_TIMES = FrameTimes(1.625, 1.875, 2.125, 2.375, 7.875, 1.925)


def markdown(results):
    return make_report(results).markdown()


def make_sampler(times=FRAME_TIMES):
    """On the scheduler's cores and on little ones, of which the former is what a user sees."""
    rows = [
        SamplerRow("portable", "any", None, 1, 8, 0, 0, replace(times, median=5.5) if times else None, 41.5, False),
        SamplerRow("numba", "any", None, 1, 8, 0, 0, times, 41.5, False),
        SamplerRow("numba", "prime", 2841.6, 1, 8, 0, 0, replace(times, median=1.125) if times else None, 42.5, True),
        SamplerRow("neon", "any", None, 1, 8, 77, 9, replace(times, median=0.25) if times else None, 41.5, False),
    ]
    return SamplerTimes("d" * 64, 300, 60, 8, "merged", rows)


def make_series():
    """Invented: three processes, in the last of which the GPU is held back."""
    moments = []
    for process, (gpu, limit, heat) in enumerate([(585, 585, 40.25), (585, 585, 44.5), (427, 499, 52.75)], 1):
        for second in range(6):
            busy, celsius = 0 < second < 5, None if 0 < second < 5 else heat + second
            begin = 1000 + 20 * process
            moments.append(Moment(process, begin + second, gpu if busy else 257.0, limit, 2841.6, celsius))
    return moments


def make(measured_on="device", latency=LATENCY, model="Phone 1", parity=PARITY, throttled=(), sampler=None):
    facts = replace(parse_facts("uname aarch64 4.14\ngpu Adreno640v2\n"), maker="Test", model=model, build="QD1A")
    layers = [LayerResult("block0", 3.5, "GPU"), LayerResult("layers", 0.25, "GPU")] if latency else []
    row = ModeResult(
        "gpu-fp16",
        "GPU_FLOAT16",
        None,
        parity,
        3,
        latency,
        layers,
        list(throttled),
        0,
        make_series() if latency else [],
    )
    missing = ModeResult("gpu-fp16-hybrid", "GPU_FLOAT32_16_HYBRID", "no such runtime", None, 0, None, [], [], 0, [])
    return Result(
        measured_on,
        [] if measured_on == "device" else ["its processor is x86_64"],
        "2026-01-02T03:04:05+00:00",
        facts,
        ModelInfo("avatar", 256, 3.946, True, "a" * 64, "b" * 64, "tool"),
        Tools("snpe", "snpe-net-run", "1.32.0", "1.32.0.555", "c" * 64, "29.0.6", "0.1.0"),
        BenchProtocol(100, 20, 3, "8 of track.npy", "mean", 60.0, 38.5),
        [row, missing],
        sampler,
    )


def test_a_result_comes_back_as_it_was(tmp_path):
    for result in (
        make(),
        make(sampler=make_sampler()),
        make("emulated", None, sampler=make_sampler(None)),
        make("stand-in", None, parity=WRONG),
    ):
        write_result(tmp_path / "a.json", result)
        assert read_result(tmp_path / "a.json") == result


def test_the_schema_beside_the_code_is_that_of_the_code():
    # Descriptions are docstrings: where one changes, write the file anew, as this line has it
    assert SCHEMA.read_text() == json.dumps(RESULT.schema(), indent=2) + "\n"


def edit(tmp_path, change):
    content = json.loads(make().to_json())
    change(content)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format="other"), "not a measurement; expected `format`"),
        (lambda c: c.update(version=1), "version 1, expected 3; measure again"),
        (lambda c: c.pop("device"), r"a\.json: device: missing"),
        (lambda c: c.update(extra=1), r"a\.json: extra: unknown"),
        (lambda c: c["device"].update(model=3), r"a\.json: device\.model: expected str, found 3; measure again"),
        (
            lambda c: c["rows"][0]["latency"]["total_ms"].update(low=None),
            r"rows\[0\]\.latency\.total_ms\.low: expected float, found None",
        ),
        (lambda c: c["rows"][0].update(processes=1.5), r"rows\[0\]\.processes: expected int, found"),
        (lambda c: c["rows"][0].update(processes=True), r"rows\[0\]\.processes: expected int, found"),
        (lambda c: c.update(rows={}), r"a\.json: rows: expected array, found {}"),
        (
            lambda c: c.update(measured_on="phone"),
            "measured_on: expected device or emulated or stand-in, found 'phone'",
        ),
        (
            lambda c: c["rows"][0]["parity"]["psnr_db"].pop("frame"),
            r"psnr_db: expected delta_uv, lf_rgb, perhaps seg, fr",
        ),
        (
            lambda c: c["rows"][0]["parity"]["emulated_db"].pop("seg"),
            r"emulated_db: expected .*; found delta_uv, lf_rgb",
        ),
        (lambda c: c["rows"][0]["parity"].update(kind="fp8"), r"parity\.kind: expected .*, found 'fp8'"),
        (lambda c: c.update(measured_on="emulated"), r"rows\[0\]: holds times, but was measured on emulated"),
        (lambda c: c.update(measured_on="stand-in"), r"rows\[0\]: holds times, but was measured on stand-in"),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_field(tmp_path, change, message):
    path = edit(tmp_path, change)
    with pytest.raises(InputError, match=message):
        read_result(path)
    done = CliRunner().invoke(main, ["report", str(path)])
    assert (done.exit_code, done.stderr.count("\n"), done.stdout) == (3, 1, "")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'"' * 100, b"[" * 100_000, b'{"format": NaN}'])
def test_what_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: not"):
        read_result(tmp_path / "a.json")
    with pytest.raises(InputError, match="no such file"):
        read_result(tmp_path / "b.json")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), st.lists, max_leaves=4
)


@settings(deadline=None)
@given(st.sampled_from(sorted(json.loads(make().to_json()))), VALUES)
def test_any_value_in_any_field_is_read_or_refused(tmp_path_factory, name, value):
    path = edit(tmp_path_factory.mktemp("fuzz"), lambda content: content.update({name: value}))
    said = ""
    try:
        read_result(path)
    except InputError as error:
        said = str(error)
    assert "\n" not in said


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


def test_what_all_processes_tell_of_their_runtime_is_kept_once():
    session = Session("key")
    for told in ("GPU delegate, completely", "", "XNNPACK delegate, partially", "GPU delegate, completely"):
        session.note_runtime(told)
    assert session.runtime == "GPU delegate, completely; XNNPACK delegate, partially"
