"""Independent jobs on several processes, which end with the one that started them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TypeVar

from bilayer.runtime.errors import InputError, OutputError

Job = TypeVar("Job")
Result = TypeVar("Result")


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
    context = multiprocessing.get_context("spawn")  # forked threads of OpenCV and LiteRT would hang
    lifeline, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(min(processes, len(jobs)), context, _start_worker, (lifeline,))
    try:
        running = {pool.submit(_attempt, work, job): job for job in jobs}
        for done in as_completed(running):
            yield running[done], done.result()
    except BrokenProcessPool as error:
        advice = "run the same command again, which goes on where this one ended, with fewer --jobs"
        raise InputError(f"a worker process was killed, perhaps for want of memory; {advice}") from error
    except BaseException:
        held.close()  # the workers leave at once
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        held.close()
        lifeline.close()


def _attempt(work: Callable[[Job], Result], job: Job) -> Result | InputError:
    """An InputError is the job's own: the others go on."""
    try:
        return work(job)
    except OutputError:
        raise
    except InputError as error:
        return error


def _start_worker(lifeline: "Connection[None, None]") -> None:
    import cv2

    cv2.setNumThreads(1)  # the processes share the cores
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_leave_with, args=(lifeline,), daemon=True).start()


def _leave_with(lifeline: "Connection[None, None]") -> None:
    """End this process once the other end of the pipe is closed, if only because its owner was killed."""
    with suppress(EOFError, OSError):
        lifeline.recv()
    os._exit(1)
