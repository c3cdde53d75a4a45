"""Thermal state and clocks: what is read of them, and when a measurement counts as throttled."""

from dataclasses import replace

import pytest

from bilayer.android_harness.device import cooling
from bilayer.android_harness.device.conditions import parse_conditions, throttling
from bilayer.android_harness.device.probe import parse_facts

COOL = parse_conditions(
    "gpu.clock 585000000\ngpu.limit 585000000\ngpu.level 0\ncpu.clock 1000\ncpu.limit 2841600\ncpu.top 2841600\n"
    "zone.gpu-usr 41000\nzone.skin 33\nzone.battery 90000\nzone.cpu-broken -40000\nThermal Status: 0\n"
)


def test_readings_have_their_units():
    assert (COOL.gpu_mhz, COOL.cpu_limit_mhz, COOL.hottest_celsius, COOL.thermal_status) == (585, [2841.6], 41, 0)


def test_a_device_that_shows_nothing_is_not_throttled():
    silent = parse_conditions("error: permission denied\n\n: : :\n")
    assert (silent.gpu_mhz, silent.hottest_celsius, silent.battery_percent, silent.powered) == (None, None, None, None)
    assert throttling(silent, [silent], silent, None) == []


def test_a_cool_device_is_not_throttled():
    assert throttling(COOL, [COOL, replace(COOL, gpu_mhz=580)], COOL, 585) == []


@pytest.mark.parametrize(
    ("change", "sign"),
    [
        ({"thermal_status": 2}, "thermal status 2 of 6"),
        ({"gpu_thermal_level": 3}, "GPU held back by its driver"),
        ({"gpu_limit_mhz": 427.0}, "GPU's limit fell from 585 to 427 MHz"),
        ({"cpu_limit_mhz": [1800.0]}, "CPU cores held below their top clock"),
    ],
)
def test_each_sign_of_throttling_is_named(change, sign):
    assert throttling(COOL, [COOL], replace(COOL, **change), 585) == [sign]


def test_a_slower_clock_than_at_first_is_a_sign():
    assert throttling(COOL, [replace(COOL, gpu_mhz=427)], COOL, 585) == ["GPU at 427 MHz, at first 585"]


@pytest.mark.parametrize(
    ("degrees", "longest", "reached", "waits"),
    [
        ([41, 41], 60, True, []),
        ([50, 45, 42], 60, True, [5, 5]),
        ([50, 50, 50, 50], 12, False, [5, 5, 2]),
        ([None], 60, False, []),
    ],
)
def test_cooling_waits_until_it_is_as_cool_as_at_the_start(monkeypatch, degrees, longest, reached, waits):
    readings, slept = iter(degrees), []
    monkeypatch.setattr(cooling, "read_conditions", lambda device: replace(COOL, hottest_celsius=next(readings)))
    assert cooling.cool_down(None, 40, longest, lambda line: None, slept.append) is reached
    assert slept == waits


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[ro.kernel.qemu]: [1]\nuname aarch64 5\n", "ro.kernel.qemu"),
        ("[ro.hardware]: [ranchu]\nuname aarch64 5\n", "ro.hardware is ranchu"),
        ("uname x86_64 6.1\n", "its processor is x86_64"),
        ("uname aarch64 5\nbinfmt /proc/sys/fs/binfmt_misc/qemu-aarch64\n", "its programs are run by qemu"),
        ("", "its processor is unknown"),
    ],
)
def test_an_emulated_device_is_known_as_one(text, reason):
    assert parse_facts(text).emulation == [reason]


def test_the_gpu_is_named_by_its_driver_or_by_gles():
    assert parse_facts("gpu Adreno640v2\nuname aarch64 4\n").gpu == "Adreno640v2"
    assert parse_facts("GLES: Qualcomm, Adreno (TM) 640, OpenGL ES 3.2\nuname aarch64 4\n").gpu == "Adreno (TM) 640"
