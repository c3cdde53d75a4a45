"""Whole commands, killed or out of disk at the calls by which they change files: complete or absent, and again equal.

    pytest tests/interrupted --points 0        or: make kills

tries every call of every command, where CI tries a few.
"""

import random

import pytest

from tests.hostile.sandbox import Servers
from tests.interrupted.commands import COMMANDS, KILLED
from tests.interrupted.interruption import WARM, Interruptions, MoreGoods, compile_library


@pytest.fixture(scope="module")
def interruptions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted")
    library = compile_library(folder)
    if library is None:
        pytest.skip("no C compiler: apt install gcc")
    with Servers(WARM, light=(), LD_PRELOAD=str(library)) as servers:
        yield Interruptions(servers, MoreGoods(tmp_path_factory.mktemp("goods")), folder)


def points_of(request, name, calls):
    """Numbers of the calls at which a command is interrupted."""
    wanted = request.config.getoption("--points")
    everywhere = range(1, calls + 1)
    return everywhere if not 0 < wanted < calls else sorted(random.Random(name).sample(everywhere, wanted))


def interrupt(request, interruptions, command, action):
    """At each of the points."""
    if not command.often and request.config.getoption("--points") == 1:
        pytest.skip("only with other --points than 1")
    _, calls = interruptions.whole(command, action)
    assert calls, "it changes no file"
    points = points_of(request, f"{command.name} {action}", calls)
    print(f"{command.name}: {action} at {len(points)} of {calls} calls")
    found = [words for number in points for words in interruptions.meet(command, number, action)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("action", ["kill", "term"])
@pytest.mark.parametrize("command", KILLED, ids=lambda command: command.name)
def test_a_killed_command_leaves_nothing_half_and_goes_on(request, interruptions, command, action):
    interrupt(request, interruptions, command, action)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_full_disk_is_one_line_and_changes_nothing(request, interruptions, command):
    interrupt(request, interruptions, command, "full")
