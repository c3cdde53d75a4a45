"""Independent jobs on several processes, or on a Ray cluster; all end with the process that started them."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, Generic

from bilayer.runtime.errors import InputError
from bilayer.runtime.files.reasons import why_not_done
from bilayer.runtime.jobs.attempt import AHEAD, TRIES, Job, Result, attempt, killed
from bilayer.runtime.jobs.processes import SPAWNED, EndedError, ended_in_order, lifeline, start_worker, starting
from bilayer.runtime.process.undisturbed import undisturbed

_SHARE = 0.75  # of the machine's memory that workers may take


@dataclass(frozen=True)
class Workers:
    """Who does the jobs: processes of this machine, or those of a Ray cluster."""

    processes: int = 1  # of this machine
    ray: str | None = None  # a cluster's address, such as auto or ray://HOST:10001; its cores are its processes

    def here(self, jobs: int) -> bool:
        """Tell whether so many jobs are done by the calling process itself, in which more goes on than they."""
        return self.ray is None and (self.processes == 1 or jobs < 2)


@dataclass(frozen=True)
class _Handed(Generic[Job]):
    job: Job
    tries: int  # with this one
    pool: int  # the place of the pool that has it


def usual_processes(each: int = 0) -> int:
    """Return how many processes this machine has cores for, and memory if each takes `each` bytes; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if each:
        with suppress(AttributeError, OSError, ValueError):  # not every system tells
            memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            cores = min(cores, int(_SHARE * memory) // each)
    return max(1, cores)


def run_jobs(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: Workers
) -> Iterator[tuple[Job, Result | InputError]]:
    """Yield each job with its result, or with what is wrong with its input, as they come.

    A job whose process is killed is tried once more; the other jobs do not hear of it. Jobs in work are broken off
    where the caller goes: by an exception, Ctrl-C, or killed.

    Raises:
        OutputError, ToolMissingError: what stops all other jobs too.
        InputError: there is no such cluster, or no longer.
    """
    if workers.ray is not None:
        from bilayer.runtime.jobs.on_ray import run_on_ray

        yield from run_on_ray(work, jobs, workers.ray)
        return
    waiting = iter(jobs)
    first = list(islice(waiting, 2))
    if workers.here(len(first)):
        for job in chain(first, waiting):
            yield job, attempt(work, job)
        return
    yield from _on_processes(work, chain(first, waiting), workers.processes)


def _on_processes(
    work: Callable[[Job], Result], jobs: Iterator[Job], processes: int
) -> Iterator[tuple[Job, Result | InputError]]:
    from pebble import ProcessExpired, ProcessPool  # whose jobs can be broken off, unlike those of Python's own

    with lifeline() as (end, leave):

        def begin() -> ProcessPool:
            return ProcessPool(1, context=SPAWNED, initializer=start_worker, initargs=(end,))

        # A worker that is killed may leave the lock of its pool's pipe closed: each has a pool of its own, which goes
        pools = [begin() for _ in range(processes)]
        running: dict[Future[Any], _Handed[Job]] = {}

        def hand_out(handed: _Handed[Job]) -> None:
            try:
                with starting():
                    if not pools[handed.pool].active:  # it breaks where a process is killed that does nothing
                        renew(handed.pool)
                    running[pools[handed.pool].schedule(_attempt, args=(work, handed.job))] = handed
            except BrokenProcessPool as error:
                why = why_not_done(cause) if isinstance(cause := error.__cause__, OSError) else "ask for fewer --jobs"
                raise InputError(f"a process cannot be started: {why}") from error

        def renew(pool: int) -> None:
            pools[pool].stop()  # type: ignore[no-untyped-call]
            pools[pool].join()
            pools[pool] = begin()

        try:
            for number, job in enumerate(islice(jobs, AHEAD * processes)):
                hand_out(_Handed(job, 1, number % processes))
            while running:
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    if (handed := running.pop(done, None)) is None:  # with another of its pool
                        continue
                    try:
                        result = done.result()
                    except (ProcessExpired, BrokenProcessPool, CancelledError, EndedError):
                        behind = [future for future, other in running.items() if other.pool == handed.pool]
                        renew(handed.pool)
                        for other in [running.pop(future) for future in behind]:
                            hand_out(other)
                        if handed.tries < TRIES:
                            hand_out(replace(handed, tries=handed.tries + 1))
                            continue
                        result = killed(handed.tries)
                    for following in islice(jobs, 1):
                        hand_out(_Handed(following, 1, handed.pool))
                    yield handed.job, result
            for pool in pools:
                pool.close()  # type: ignore[no-untyped-call]
        except BaseException:
            with undisturbed():
                for pool in pools:
                    pool.stop()  # type: ignore[no-untyped-call]  # it starts none in place of those that leave
                leave()
            raise
        finally:
            for pool in pools:
                pool.join()


def _attempt(work: Callable[[Job], Result], job: Job) -> Result | InputError:
    with ended_in_order():
        return attempt(work, job)
