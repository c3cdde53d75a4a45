"""The processes of the service: a bounded queue before them, killed and replaced where one takes too long."""

import asyncio
import hashlib
import json
import math
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from bilayer.export.options import ExportOptions
from bilayer.export.serve.options import ServeOptions, Wanted
from bilayer.export.serve.work import PHOTO, Made, Refused, begin, describe, make_avatar
from bilayer.runtime.jobs.processes import SPAWNED, EndedError, lifeline, starting
from bilayer.runtime.process.undisturbed import undisturbed

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

MadeBy = tuple[str, ...]  # checkpoint, packages and usual target of a process's avatars
_LOADING = 120.0  # s: torch and a checkpoint from a cold disk
_ENDING = 10.0  # s, after which a process that was told to end is left to its lifeline


@dataclass(frozen=True)
class Sent:
    """What a request holds: the photo's bytes, options, and landmarks where it brings some."""

    photo: bytes
    wanted: Wanted
    landmarks: bytes | None = None
    landmarks_suffix: str = ".json"


class WorkerPool:
    """Processes that hold the checkpoint, and those who wait for them."""

    def __init__(self, options: ServeOptions, work: Path, end: "Connection[None, None]") -> None:
        self._options, self._work = options, work
        self._start = (end, options.memory << 20, str(options.checkpoint))
        # A process that is killed may leave the lock of its pool's pipe closed: each has a pool of its own, which goes
        self._pools = [self._new_pool() for _ in range(options.workers)]
        self._free: asyncio.Queue[int] = asyncio.Queue()  # places of pools that have nothing to do
        for place in range(options.workers):
            self._free.put_nowait(place)
        self._made_by: MadeBy = ()
        self._usual = 2.0  # s that an avatar takes, of late
        self.waiting = 0  # requests that are in work or wait
        self.restarts = 0  # of processes

    @property
    def ready(self) -> bool:
        """Whether a process has loaded the checkpoint."""
        return bool(self._made_by)

    @property
    def full(self) -> bool:
        """Whether no more may wait."""
        return self.waiting >= self._options.workers + self._options.queue

    @property
    def retry_after(self) -> int:
        """Seconds in which a place will be free, about."""
        return max(1, math.ceil(self._usual * self.waiting / self._options.workers))

    def start(self) -> ProcessFuture[MadeBy]:
        """Start a process, and return what is to come when it has loaded the checkpoint; broken off, it may hang."""
        with starting():
            return self._pools[0].schedule(describe, args=(str(self._options.checkpoint),), timeout=_LOADING)

    def await_checkpoint(self, loading: ProcessFuture[MadeBy]) -> None:
        """Wait until that process has loaded the checkpoint, or raise a CheckpointError where it cannot be."""
        self._made_by = loading.result()

    def key(self, sent: Sent) -> str:
        """Return the hash of all that an avatar is made from: the same key, the same bytes."""
        parts = [hashlib.sha256(part or b"").hexdigest() for part in (sent.photo, sent.landmarks)]
        given = [
            *parts,
            None if sent.landmarks is None else sent.landmarks_suffix,
            repr(sent.wanted),
            self._options.target,
        ]
        return hashlib.sha256(json.dumps([*given, *self._made_by], allow_nan=False).encode()).hexdigest()

    async def make(self, sent: Sent) -> Made | Refused:
        """Return an avatar, or why there is none; the photo is removed before this returns."""
        self.waiting += 1
        try:
            with tempfile.TemporaryDirectory(dir=self._work) as folder:
                made = await self._made(self._laid(sent, Path(folder)))
        finally:
            self.waiting -= 1
        if isinstance(made, Made):
            self._usual += 0.2 * (sum(made.seconds.values()) - self._usual)
        return made

    async def _made(self, options: ExportOptions) -> Made | Refused:
        seconds, place = self._options.seconds, await self._free.get()
        try:
            if not self._is_active(place):  # it breaks where a process is killed that does nothing
                await self._renew(place)
            with starting():
                future = self._pools[place].schedule(make_avatar, args=(options,), timeout=seconds)
            return await asyncio.wrap_future(future)
        except TimeoutError:
            self.restarts += 1
            return Refused(504, PHOTO, f"photo: took longer than {seconds:g} s and was given up; send a smaller one")
        except (ProcessExpired, BrokenProcessPool, EndedError):
            await self._renew(place)
            return Refused(503, PHOTO, "photo: the process that worked at it was killed; send it again, or another")
        finally:
            self._free.put_nowait(place)

    def _laid(self, sent: Sent, folder: Path) -> ExportOptions:
        photo = folder / PHOTO
        photo.write_bytes(sent.photo)
        landmarks = None
        if sent.landmarks is not None:
            landmarks = folder / f"landmarks{sent.landmarks_suffix}"
            landmarks.write_bytes(sent.landmarks)
        given = vars(sent.wanted)
        usual = ExportOptions(photo, target=self._options.target, checkpoint=self._options.checkpoint)
        return replace(usual, landmarks=landmarks, **given)

    async def _renew(self, place: int) -> None:
        self.restarts += 1
        former, self._pools[place] = self._pools[place], self._new_pool()
        former.stop()  # type: ignore[no-untyped-call]
        await asyncio.to_thread(_join, former)

    def _is_active(self, place: int) -> bool:
        with starting():  # it starts one that was not
            return self._pools[place].active

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(1, context=SPAWNED, initializer=begin, initargs=self._start)

    def stop(self, leave: Callable[[], None]) -> None:
        """End all processes, whether they work or not, by `leave`; wait for their ends, but not for ever."""
        for pool in self._pools:
            pool.stop()  # type: ignore[no-untyped-call]  # it starts none in place of those that leave
        leave()
        for pool in self._pools:
            _join(pool)


def _join(pool: ProcessPool) -> None:
    """Wait for a pool that was stopped: not for ever, where a process was killed with the lock of the pool's pipe."""
    waiting = threading.Thread(target=pool.join, daemon=True)
    waiting.start()
    waiting.join(_ENDING)


@contextmanager
def ready_to_start(options: ServeOptions, work: Path) -> Iterator[WorkerPool]:
    """Yield a pool, yet to be started, that ends with this block, or with this process, however that ends."""
    with lifeline() as (end, leave):
        workers = WorkerPool(options, work, end)
        try:
            yield workers
        finally:
            with undisturbed():
                workers.stop(leave)
