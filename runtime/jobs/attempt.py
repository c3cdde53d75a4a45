"""One job, tried where it was handed out to; and what is common to all that hand jobs out."""

from collections.abc import Callable
from typing import TypeVar

from bilayer.runtime.errors import InputError, OutputError

Job = TypeVar("Job")
Result = TypeVar("Result")

TRIES = 2  # a process may be killed for what another did: for want of memory, or with its machine
AHEAD = 2  # jobs for each process that are handed out: all of a million would fill the memory


def attempt(work: Callable[[Job], Result], job: Job) -> Result | InputError:
    """Do a job and return its result, or the InputError that is its own: the others go on.

    Raises:
        OutputError, ToolMissingError: as `work` does.
    """
    try:
        return work(job)
    except OutputError:
        raise
    except InputError as error:
        return error


def killed(times: int, way_out: str = "run the same command again with fewer processes (--jobs)") -> InputError:
    """Return what became of a job whose process was killed so many times."""
    return InputError(f"a worker process was killed at this, {times} times, perhaps for want of memory; {way_out}")
