"""Jobs on a Ray cluster (extra [ray]): each is a task of one core, tried again where its worker is lost."""

import faulthandler
import logging
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

from bilayer.runtime.errors import InputError, ToolMissingError, in_short
from bilayer.runtime.jobs.attempt import AHEAD, TRIES, Job, Result, attempt, killed
from bilayer.runtime.jobs.processes import WAITING
from bilayer.runtime.process.environment import kept_environment

_BEGINNING = 60  # characters
_BREAKPOINT = "PYTHONBREAKPOINT"  # what Python's breakpoint() calls
_ANSWER = 10.0  # s that a cluster has to answer; Ray itself would wait for minutes


def run_on_ray(
    work: Callable[[Job], Result], jobs: Iterable[Job], address: str
) -> Iterator[tuple[Job, Result | InputError]]:
    """Yield jobs and results as `run_jobs`; the cluster's machines have this package, and read what the jobs name, by
    paths from this folder.

    Raises:
        OutputError, ToolMissingError: as `run_jobs`.
        InputError: no cluster answers at `address`, or its node here ends in the middle.
    """
    with _leaving_no_trace():
        yield from _run(work, jobs, address)


def _run(work: Callable[[Job], Result], jobs: Iterable[Job], address: str) -> Iterator[tuple[Job, Result | InputError]]:
    import ray

    _connect(address)
    # A worker keeps what it has loaded from one task to the next: its process lives on
    task: Any = ray.remote(num_cpus=1, max_retries=TRIES - 1, retry_exceptions=False)(_attempt_in)
    folder = os.getcwd()  # noqa: PTH109  # as it is, a link or not
    running: dict[Any, Job] = {}
    waiting = iter(jobs)
    try:
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        ahead = AHEAD * max(1, int(resources.get("CPU", 1)))
        while True:
            for job in islice(waiting, max(0, ahead - len(running))):
                running[task.remote(folder, work, job)] = job
            if not running:
                return
            done, _ = ray.wait(list(running), num_returns=1)
            job = running.pop(done[0])
            yield job, _outcome(done[0])
    finally:
        for reference in running:
            with suppress(Exception):  # of a cluster that is gone
                ray.cancel(reference, force=True)
        ray.shutdown()


@contextmanager
def _leaving_no_trace() -> Iterator[None]:
    """Undo at the end what Ray makes of a process that connects, and leaves so when it disconnects."""
    hook, crashes, files = sys.excepthook, faulthandler.is_enabled(), resource.getrlimit(resource.RLIMIT_NOFILE)
    import ray  # noqa: F401  # whose log has its level from here on

    log = logging.getLogger("ray")
    level = log.level
    try:
        with kept_environment(_BREAKPOINT):
            yield
    finally:
        sys.excepthook = hook
        log.setLevel(level)
        if not crashes:
            faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_NOFILE, files)


def _attempt_in(folder: str, work: Callable[[Job], Result], job: Job) -> Result | InputError:
    with suppress(OSError):  # of a machine without that folder: then there are but URLs, and what all machines have
        os.chdir(folder)  # Ray's workers stand where its node was started
    return attempt(work, job)


def _connect(address: str) -> None:
    import ray

    try:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if host and port.isdecimal():
            socket.create_connection((host, int(port)), _ANSWER).close()
        usual, numbers = _handler(signal.SIGTERM), random.getstate()
        try:
            ray.init(
                address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": {WAITING: "PASSIVE"}},
            )
        finally:
            random.setstate(numbers)
            with suppress(ValueError):  # not the main thread
                signal.signal(signal.SIGTERM, usual)  # Ray's own would end a command with another code
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        reason = (
            f"no cluster answers there ({in_short(error)}); ray start --head begins one, and one that was begun with a "
            "token wants RAY_AUTH_MODE=token here, if its address is given"
        )
        raise InputError(f"--ray {address}: {reason}") from error


def _handler(number: int) -> Any:
    handler = signal.getsignal(number)
    return signal.SIG_DFL if handler is None else handler


def _outcome(reference: Any) -> Any:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if "failed to import" in str(error.cause)[:_BEGINNING]:  # a RuntimeError of Ray's own
            reason = str(error.cause).strip().splitlines()[-1][:200]
            raise ToolMissingError(
                f"--ray: a machine of the cluster has not this package, or another version of it ({reason}); install "
                "there what is here"
            ) from None
        raise error.cause from None  # as the work raised it
    except ray.exceptions.LocalRayletDiedError:  # and so would each job be, of however many there are
        raise InputError(
            "--ray: the cluster's node that this command was connected to has ended; what is done is kept: run the "
            "same command again, once there is a cluster"
        ) from None
    except ray.exceptions.RayError:  # its worker, or its machine, was lost each time
        return killed(TRIES, "run the same command again, or give Ray fewer cores of a machine (ray start --num-cpus)")
