"""Whole commands, killed or out of disk at the calls by which they change files: complete or absent, and again equal.

    pytest tests/interrupted --points 0        or: make kills

tries every call of every command, where CI tries a few. With a full disk a command then runs once: at each call a copy
of it fails, in a view of its own. That needs root; without it, and where it cannot be, each call has a run of its own.
"""

import random

import pytest

from tests.hostile.sandbox import Servers
from tests.interrupted.commands import COMMANDS, KILLED, OUT, hidden, visible
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
    if action == "full" and request.config.getoption("--points") == 0 and not command.alone:
        tried = list(interruptions.fill_disk_everywhere(command))
        found, anew = [words for _, wrong in tried for words in wrong], sum(again for again, _ in tried)
        print(
            f"{command.name}: full at {len(tried)} calls, {anew} in runs of their own, {len(found)} wrong", flush=True
        )
        assert tried, "it changes no file"
        assert not found, "\n".join(found)
        return
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


def test_a_copy_ends_as_a_run_of_its_own(interruptions):
    command = next(command for command in COMMANDS if command.name == "eval-frames")
    copied = 0
    for number, copy in interruptions.copies(command):
        alone, folder = interruptions.run_to(command, number)
        if copy:  # which needs the right to mount
            copied += 1
            met, there, *_ = copy
            assert (met.code, met.out, met.err) == (alone.code, alone.out, alone.err)
            assert visible(there / "here" / OUT) == visible(folder / "here" / OUT)
            assert hidden(there / "here" / OUT) == hidden(folder / "here" / OUT) == []
    if not copied:
        pytest.skip("no right to mount: run as root on a Linux with overlayfs")
