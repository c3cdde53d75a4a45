"""What tables and charts of devices call a device, and how they write a figure."""

from collections.abc import Sequence

from bilayer.android_harness.results import ModeResult, Parity, Result, Spread
from bilayer.runtime.agreement import MOST_DB

DASH = "-"
PARITY_COLUMNS = {"delta_uv": "warp dB", "lf_rgb": "lf dB", "seg": "mask dB", "frame": "frame dB"}


def label(result: Result) -> str:
    """Return a device's name, with what it is where it is no device."""
    device = result.device
    name = " ".join(filter(None, (device.maker, device.model))) or "unknown device"
    return clean(name if result.measured_on == "device" else f"{name} ({result.measured_on})")


def rows_of(results: Sequence[Result], *, on_device: bool = False) -> list[tuple[Result, ModeResult]]:
    """Return every mode of every result, or of those alone that were measured on a device."""
    return [(one, row) for one in results if one.measured_on == "device" or not on_device for row in one.rows]


def row_label(result: Result, row: ModeResult) -> str:
    """Return the device and the mode, in a chart or before a remark."""
    return f"{label(result)}, {clean(row.title)}"


def clean(text: str) -> str:
    """Return text from a device or a file, fit for a cell of a table."""
    return "".join(c for c in text if c.isprintable()).replace("|", "/").replace("<", "‹").replace(">", "›")


def psnr_text(parity: Parity, name: str) -> str:
    """Return one PSNR of a parity as a table shows it, in dB."""
    if name not in parity.psnr_db:
        return DASH
    value = parity.psnr_db[name]
    return "exact" if value >= MOST_DB else f"{value:.1f}"


def milliseconds(spread: Spread | None) -> str:
    """Return the median of the processes, and their range."""
    return DASH if spread is None else f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"
