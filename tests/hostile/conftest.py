import subprocess
import sys

import pytest

from tests import forked
from tests.hostile.goods import Goods
from tests.hostile.sandbox import Sandbox


@pytest.fixture(scope="session")
def goods(tmp_path_factory):
    return Goods(tmp_path_factory.mktemp("goods"))


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """Numba's cache of what draws heads: compiled in a case's memory, LLVM gives up, and the next case tries again."""
    heads = ("heads", "--out", tmp_path_factory.mktemp("compiled") / "heads", "--identities", "1", "--frames", "1")
    program = "from bilayer.training.prepare.cli import main; main()"
    subprocess.run([sys.executable, "-c", program, *heads, "--size", "64"], check=True, capture_output=True)


@pytest.fixture(scope="session")
def sandbox(goods, compiled):
    return Sandbox(forked.SERVERS, goods)


def pytest_terminal_summary(terminalreporter):
    """What it cost: the highest peaks of memory, and the slowest cases."""
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.getreports(kind)]
    cost = {
        one.nodeid.partition("[")[2].rstrip("]"): dict(one.user_properties) for one in reports if one.user_properties
    }
    cost = {case: found for case, found in cost.items() if "peak_mb" in found}
    for name in ("peak_mb", "processor_seconds"):
        worst = sorted(cost, key=lambda case, name=name: -cost[case][name])[:8]
        terminalreporter.write_line(f"{name}: " + ", ".join(f"{cost[case][name]} {case}" for case in worst))
    if cost:
        spent = sum(found["processor_seconds"] for found in cost.values())
        terminalreporter.write_line(f"{len(cost)} hostile cases, {spent:.0f} s of processor time")
