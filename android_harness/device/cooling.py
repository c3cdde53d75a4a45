"""Waiting until a device is as cool as when the measurement began."""

import time
from collections.abc import Callable

from bilayer.android_harness.device.adb import Device
from bilayer.android_harness.device.conditions import read_conditions

WARMER = 3.0  # degrees above the beginning that pass as the same
_INTERVAL = 5.0  # seconds between two looks


def cool_down(
    device: Device,
    start_celsius: float | None,
    longest: float,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until the hottest sensor is back where it was, `longest` seconds at the most.

    Returns:
        Whether it got there; False as well for a device that shows no temperature.

    Raises:
        DeviceError: the device is gone.
    """
    waited = 0.0
    while True:
        now = read_conditions(device).hottest_celsius
        if now is None or start_celsius is None:
            return False
        if now <= start_celsius + WARMER:
            return True
        if waited >= longest:
            return False
        say(f"cooling down: {now:.0f} degrees, {start_celsius:.0f} at the start")
        pause = min(_INTERVAL, longest - waited)
        sleep(pause)
        waited += pause
