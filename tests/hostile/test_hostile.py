"""Whatever lies in a user's file: exit code 2 or 3 and one line, or the right result; in 1.5 GB and 60 s."""

import pytest

from tests.hostile.case import broken_promises
from tests.hostile.families import CASES


def test_case_names_are_their_own():
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_hostile_input(case, sandbox, tmp_path, record_property):
    outcome = sandbox.meet(case, tmp_path)
    for name in ("peak_mb", "seconds", "processor_seconds"):
        record_property(name, getattr(outcome, name))
    found = broken_promises(case, outcome)
    assert not found, f"{'; '.join(found)}\n--- stderr\n{outcome.err[-3000:]}\n--- stdout\n{outcome.out[-500:]}"
