"""Processes that end with the one that started them, however it ends."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from bilayer.runtime.errors import InputError


@contextmanager
def worker_processes(count: int, advice: str) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes, each with one thread of OpenCV. Work is broken off if an exception leaves the block.

    They are spawned: forked threads of OpenCV and LiteRT would hang, or worse.

    Raises:
        InputError: a process was killed; `advice` is the way out.
    """
    context = multiprocessing.get_context("spawn")
    lifeline, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(count, context, _start_worker, (lifeline,))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise InputError(f"a worker process was killed, perhaps for want of memory; {advice}") from error
    except BaseException:
        held.close()  # the workers leave at once
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        held.close()
        lifeline.close()


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
