"""The time in a .dlc: Qualcomm's library writes the clock's into its metadata, and nothing else that varies."""

import os
import re
import time
from collections.abc import Mapping

from bilayer.export.dlc.container import read_members
from bilayer.runtime.errors import InputError

SOURCE_DATE = "SOURCE_DATE_EPOCH"  # https://reproducible-builds.org/specs/source-date-epoch/
_LATEST = 253402300799  # s: the last of the year 9999, which the metadata's form has room for
_STAMP = re.compile(rb'("timestamp": ")\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"')


def source_date(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return seconds since 1970 that outputs are to say they were written at; None: the clock's.

    Raises:
        InputError: $SOURCE_DATE_EPOCH is no such number.
    """
    given = environment.get(SOURCE_DATE, "")
    if not given:
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 12 or int(given) > _LATEST:
        raise InputError(f"${SOURCE_DATE}: expected whole seconds since 1970, up to {_LATEST}, found {given[:40]}")
    return int(given)


def stamped(data: bytes, seconds: int) -> bytes:
    """Return a .dlc's bytes with another time of writing, in seconds since 1970; length and other bytes stay.

    Raises:
        DlcError: not a .dlc, or one with checksums, which would no longer be right.
    """
    changed = bytearray(data)
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds)).encode()
    for name, member in read_members(memoryview(changed)).items():
        if name.startswith("dlc.metadata"):
            member[:] = _STAMP.sub(rb"\g<1>" + when + b'"', bytes(member))
    read_members(memoryview(changed))  # compares checksums
    return bytes(changed)
