"""The parsers of the vendor's viewers, on samples written after their documented forms."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilayer.android_harness.routes.diagnostics import LayerTime, Profile, parse_profile
from bilayer.runtime.errors import DeviceError

SAMPLES = Path(__file__).parent / "samples"


def parse(name):
    return parse_profile((SAMPLES / name).read_text(), name)


def test_the_text_of_snpe_diagview():
    layers = (
        LayerTime("0", 1419, "GPU"),
        LayerTime("1", 21, "GPU"),
        LayerTime("layers Type:Convolutional", 310.5, "CPU"),
    )
    assert parse("diagview.txt") == Profile("1.32.0.555", 44150, 41980, 903746, layers)


def test_the_csv_of_snpe_diagview():
    layers = (LayerTime("block0_conv1", 1419, "GPU"), LayerTime("layers", 21.5, "GPU"))
    assert parse("diagview.csv") == Profile("", 44150, 41980, 903746, layers)


def test_the_average_of_qnn_profile_viewer():
    assert parse("profile_viewer.txt") == Profile("", 2952, 2949, 331158, ())


def test_a_basic_log_has_no_layers_and_maybe_no_forward_time():
    found = parse_profile("Init: 5 us\nTotal Inference Time: 7 us\n", "log")
    assert found == Profile("", 7, None, 5, ())


@pytest.mark.parametrize(
    "text", ["", "\n\n", "no log", "Init: 5 us", "Total Inference Time: fast", "a,b,c\nd,e,-1", "a,b,nan"]
)
def test_a_log_without_times_is_named(text):
    with pytest.raises(DeviceError, match=r"^it: expected a Total Inference Time, found '"):
        parse_profile(text, "it")


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text):
    said = ""
    try:
        assert parse_profile(text, "it").total_us >= 0
    except DeviceError as error:
        said = str(error)
    assert "\n" not in said


@settings(deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 10**9), st.lists(st.integers(0, 10**7), max_size=20))
def test_every_number_comes_back(total, forward, layers):
    lines = [f"{number}: {us} us : GPU" for number, us in enumerate(layers)]
    text = f"Total Inference Time: {total} us\nForward Propagate Time: {forward} us\nLayer Times: \n" + "\n".join(lines)
    found = parse_profile(text, "it")
    assert (found.total_us, found.forward_us, [layer.us for layer in found.layers]) == (total, forward, layers)
