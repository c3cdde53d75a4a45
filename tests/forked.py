"""A command as a user runs it, forked off a process that has imported its libraries: starting Python takes seconds.

What only a process of its own can show stays with subprocess: what is imported, signals, libraries' settings that are
read as they load, and once for each command that it starts at all.
"""

import os
from pathlib import Path
from subprocess import CompletedProcess

from tests.hostile.sandbox import Servers

SERVERS = Servers()  # of this process; tests/conftest.py ends them
TRAINING = Servers(("torch._dynamo", "torch.utils.tensorboard"), light=())  # which an optimiser and a log import
LONGEST = 300  # s
_READ_EARLY = ("LD_", "MALLOC_", "MKL_", "NUMBA_", "OMP_", "PYTHON")
_NOT_EARLY = ("OMP_NUM_THREADS", "PYTHONBREAKPOINT")  # the second is set where a test imports Ray


def run(command, *words, env=None, cwd=None, strict=False):
    """How `bilayer-COMMAND WORDS` ended, and what it printed.

    Args:
        env: its whole environment; by default this process's, as it is now. OMP_NUM_THREADS is torch's number.
        cwd: where it is run; here by default.
        strict: warnings are errors.
    """
    wanted = dict(os.environ if env is None else env)
    changed = {name: value for name, value in wanted.items() if SERVERS.environment.get(name) != value}
    unset = SERVERS.environment.keys() - wanted.keys()
    early = [name for name in (*changed, *unset) if name.startswith(_READ_EARLY) and name not in _NOT_EARLY]
    assert not early, f"{early} would be read too late: run a process of its own"
    servers = TRAINING if command == "train" else SERVERS
    answer = servers.run(
        command, words, cwd or Path.cwd(), seconds=LONGEST, environment=changed, unset=sorted(unset), strict=strict
    )
    return CompletedProcess([command, *words], answer["code"], answer["out"], answer["err"])
