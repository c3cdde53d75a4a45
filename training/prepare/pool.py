"""Independent jobs on several processes, which end with the one that started them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from typing import TypeVar

from bilayer.runtime.errors import InputError, OutputError
from bilayer.training.worker_pool import worker_processes

Job = TypeVar("Job")
Result = TypeVar("Result")

_ADVICE = "run the same command again, which goes on where this one ended, with fewer --jobs"


def run_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], processes: int
) -> Iterator[tuple[Job, Result | InputError]]:
    """Each job with its result, or with what is wrong with its input, as they come.

    Jobs in work are broken off where the caller goes: by an exception, Ctrl-C, or killed.

    Raises:
        OutputError, ToolMissingError: what stops all other jobs too.
        InputError: a process was killed.
    """
    if processes == 1 or len(jobs) <= 1:
        yield from ((job, _attempt(work, job)) for job in jobs)
        return
    with worker_processes(min(processes, len(jobs)), _ADVICE) as pool:
        running = {pool.submit(_attempt, work, job): job for job in jobs}
        for done in as_completed(running):
            yield running[done], done.result()


def _attempt(work: Callable[[Job], Result], job: Job) -> Result | InputError:
    """An InputError is the job's own: the others go on."""
    try:
        return work(job)
    except OutputError:
        raise
    except InputError as error:
        return error
