"""Processes that end with the one that started them, however it ends."""

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import NoReturn

from bilayer.runtime.command.heard import hush_libraries
from bilayer.runtime.errors import InputError
from bilayer.runtime.process.environment import kept_environment
from bilayer.runtime.process.start_method import open_start_method
from bilayer.runtime.process.undisturbed import undisturbed

WAITING = "OMP_WAIT_POLICY"  # read by libgomp as it is loaded
_LEAVING = threading.Event()  # set in a worker whose owner is gone
_ENDING = 2.0  # s that work has for its end: where it computes for longer, no tool is at work
_TEMPORARY, _PREFIX = "TMPDIR", "bilayer-jobs-"
# Forked threads of OpenCV and LiteRT would hang, or worse
SPAWNED: SpawnContext = multiprocessing.get_context("spawn")


class EndedError(BaseException):
    """A process was told to end amid its work; no Exception, that no handler of those takes it for the work's own."""


@contextmanager
def worker_processes(count: int, advice: str) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of processes, each with one thread of OpenCV. Work is broken off if an exception leaves the block.

    Raises:
        InputError: a process was killed; `advice` is the way out.
    """
    with lifeline() as (end, leave):
        pool = ProcessPoolExecutor(count, SPAWNED, start_worker, (end,))
        try:
            with starting():
                for _ in range(count):
                    pool.submit(os.getpid)  # each starts one
            yield pool
        except BrokenProcessPool as error:
            raise InputError(f"a worker process was killed, perhaps for want of memory; {advice}") from error
        except BaseException:
            leave()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def lifeline() -> Iterator[tuple["Connection[None, None]", Callable[[], None]]]:
    """Yield the end of a pipe for `start_worker`, and a function after which the workers that hold it leave at once.

    Processes that are started inside let the threads of OpenMP sleep where they wait for each other. By default these
    wait in a loop, which takes the core from another process: two exports on two cores took 6 times as long as one.
    What they keep in temporary folders, people's photos among it, lies in one that goes whatever is killed.
    """
    end, held = SPAWNED.Pipe(duplex=False)
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder,
        kept_environment(WAITING, _TEMPORARY),
        open_start_method(),
    ):
        os.environ.setdefault(WAITING, "PASSIVE")
        os.environ[_TEMPORARY] = folder
        try:
            yield end, held.close
        finally:
            held.close()
            end.close()


@contextmanager
def starting() -> Iterator[None]:
    """Inside, processes are started: no signal breaks that off, after which they print tracebacks and pools hang.

    Nor do they hear a Ctrl-C before they leave it to their owner.
    """
    with undisturbed():
        if not hasattr(signal, "pthread_sigmask"):  # Windows
            yield
            return
        resource_tracker.ensure_running()  # before: it unblocks signals as it starts
        former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which processes and threads have from here
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Let SIGTERM, and the owner's end, break off what a worker does inside by way of every `finally`, so that a
    converter is stopped, too.

    Raises:
        EndedError: there was one.
    """
    former = signal.signal(signal.SIGTERM, _break_off)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
        if _LEAVING.is_set():
            time.sleep(_ENDING)  # by then `_leave_with` has removed what is left, and ended the process


def _break_off(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise EndedError


def start_worker(end: "Connection[None, None]") -> None:
    """Make this process one that leaves Ctrl-C to its owner, computes OpenCV on one thread, and ends with its owner."""
    import cv2

    hush_libraries()
    cv2.setNumThreads(1)  # the processes share the cores
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # see `starting`
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which a parent that ends ignores, and children have that from it
    threading.Thread(target=_leave_with, args=(end,), daemon=True).start()


def _leave_with(end: "Connection[None, None]") -> None:
    """End this process once the other end of the pipe is closed, if only because its owner was killed."""
    with suppress(EOFError, OSError):
        end.recv()
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # at work in `ended_in_order`
        _LEAVING.set()
        os.kill(os.getpid(), signal.SIGTERM)
        until = time.monotonic() + _ENDING
        while signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL and time.monotonic() < until:
            time.sleep(0.01)
    folder = os.environ.get(_TEMPORARY, "")  # tempfile would try whether it can write there, and raise on a full disk
    if Path(folder).name.startswith(_PREFIX):  # its owner may be gone
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
