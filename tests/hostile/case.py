"""One hostile input, and the promise that a command keeps whatever it is given."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.hostile.goods import Goods

MEMORY = 1_500_000_000  # bytes of address space, shared libraries included
SECONDS = 60
# What may stand on stderr before an error: warnings, the demo weights' note, what a check lists, what a run begins
# with, a video that ends too soon, what libpng says by itself
OTHER_LINES = re.compile(
    r"error: |warning: |WARNING: |note: |failed: |problem: |no --checkpoint|what they|\d+ sequences from|auto precision"
    r"|video\.mp4: the video is cut short|libpng error: "
)
LONGEST_LINE = 2000  # characters: a message may name a few files, and is still to be read
Laid = Callable[[Goods, Path], Sequence[object]]


@dataclass(frozen=True)
class Case:
    """What lies in a folder, the command that meets it there, and how that may end."""

    family: str
    name: str
    command: str  # export, for bilayer-export
    lay: Laid  # puts files into a new folder, and returns the command's words; it is run there
    codes: tuple[int, ...] = (3,)
    says: str = ""  # a pattern in the error's line, or in what is printed where the code is 0
    begun: bool = False  # a training run may have begun: its folder stays, and the same command goes on

    @property
    def id(self):
        return f"{self.family}-{self.name}"


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int  # negative: of a signal
    out: str
    err: str
    seconds: float
    processor_seconds: float
    peak_mb: float  # resident, of the process that was forked
    left: tuple[str, ...]  # files that are there now and were not before, `out` of a command that succeeded aside


def broken_promises(case, outcome):
    """What the outcome does not keep, in words; empty where all is kept."""
    found = []
    if outcome.code not in case.codes:
        found.append(f"exit code {outcome.code}, expected {' or '.join(map(str, case.codes))}")
    if "Traceback" in outcome.err or "Traceback" in outcome.out:
        found.append("a traceback")
    lines = [line for line in outcome.err.splitlines() if line.strip()]
    if outcome.code == 3:
        errors = [line for line in lines if line.startswith("error: ")]
        others = [line for line in lines if not OTHER_LINES.match(line)]
        if len(errors) != 1 or lines[-1] != errors[0]:
            found.append(f"{len(errors)} error lines, expected one at the end")
        if others:
            found.append(f"other lines on stderr: {others[:3]}")
        if len(lines[-1] if lines else "") > LONGEST_LINE:
            found.append(f"a line of {len(lines[-1])} characters")
    if outcome.code == 2 and not (lines and lines[-1].startswith("Error: ")):
        found.append("a usage error without its line")
    if outcome.code == 0 and outcome.out.startswith("{"):
        found += not_json(outcome.out)
    said = outcome.out + outcome.err if outcome.code == 0 else outcome.err
    if case.says and not re.search(case.says, said):
        found.append(f"says nothing like {case.says!r}")
    if outcome.left:
        found.append(f"left behind: {', '.join(outcome.left[:5])}")
    return found


def not_json(printed):
    """Why what a command's --json printed is no JSON, NaN and Infinity being none; empty where it is."""

    def refuse(name):
        raise ValueError(f"{name} is no JSON")

    try:
        json.loads(printed, parse_constant=refuse)
    except ValueError as error:
        return [f"printed no JSON: {error}"]
    return []
