"""Result files: what they hold, and what they refuse."""

import json

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from bilayer.android_harness.bench.session import Session
from bilayer.android_harness.cli import main
from bilayer.android_harness.results import (
    RESULT,
    read_result,
    write_result,
)
from bilayer.runtime.errors import InputError
from tests.android_harness.made_results import SCHEMA, WRONG, make, make_sampler


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


def test_what_all_processes_tell_of_their_runtime_is_kept_once():
    session = Session("key")
    for told in ("GPU delegate, completely", "", "XNNPACK delegate, partially", "GPU delegate, completely"):
        session.note_runtime(told)
    assert session.runtime == "GPU delegate, completely; XNNPACK delegate, partially"
