"""The avatars of a service: from the cache, or made, each once however many ask for it."""

import asyncio
import logging

from starlette.requests import Request

from bilayer.export.serve.cache import Cache
from bilayer.export.serve.numbers import Numbers
from bilayer.export.serve.options import ServeOptions
from bilayer.export.serve.request import RequestError, read_request
from bilayer.export.serve.work import Made, Refused
from bilayer.export.serve.workers import Sent, WorkerPool
from bilayer.runtime.errors import OutputError

READERS = 16  # requests whose bodies are read at once; with `body` MiB each, what they take of the memory
_WORDS = {422: "photo", 503: "service", 504: "time"}

_log = logging.getLogger(__name__)


class Service:
    """What stands behind the addresses."""

    def __init__(self, options: ServeOptions, workers: WorkerPool, cache: Cache) -> None:
        self._options, self.workers, self._cache = options, workers, cache
        self.numbers = Numbers(workers, cache)
        self._making: dict[str, asyncio.Task[Made | Refused]] = {}
        self._disk = asyncio.Lock()
        self._reading = 0

    async def avatar(self, request: Request) -> tuple[str, bytes]:
        """Return the key of a request's avatar, and its zip.

        Raises:
            RequestError: there is none.
        """
        try:
            sent = await self._read(request)
            key = self.workers.key(sent)
            content = await self.kept(key)
            if content is not None:
                self.numbers.count("cached")
                return key, content
            task = self._task(key, sent)
            del sent  # as many as there are connections may wait for the same avatar: its task alone holds the photo
            made = await self._outcome(task)
        except RequestError as problem:
            self.numbers.count(problem.error)
            raise
        self.numbers.count("made")
        return key, made.content

    async def kept(self, key: str) -> bytes | None:
        """Return the zip of that key; None where it is not in the cache."""
        async with self._disk:
            return await asyncio.to_thread(self._cache.get, key)

    async def _read(self, request: Request) -> Sent:
        if not self.workers.ready:
            raise RequestError(503, "starting", "", "the checkpoint is not loaded yet; try again", 5)
        if self.workers.full or self._reading >= READERS:
            raise self._busy()
        self._reading += 1
        try:
            return await read_request(request, self._options.body << 20, self._options.read_seconds)
        finally:
            self._reading -= 1

    def _task(self, key: str, sent: Sent) -> asyncio.Task[Made | Refused]:
        """What makes the avatar of that key, begun now or by another's request."""
        task = self._making.get(key)
        if task is None:
            if self.workers.full:  # by now
                raise self._busy()
            task = self._making[key] = asyncio.create_task(self._make_and_keep(key, sent))
            task.add_done_callback(lambda _: self._making.pop(key, None))
        return task

    async def _outcome(self, task: asyncio.Task[Made | Refused]) -> Made:
        try:
            made = await asyncio.shield(task)  # whoever leaves does not stop it: others may wait for it, or it is kept
        except (OSError, OutputError) as error:
            _log.error("no avatar, as nothing can be written: %s", error)
            raise RequestError(
                503, "service", "", "the service cannot write to its disk; tell who runs it", 30
            ) from None
        if isinstance(made, Refused):
            raise RequestError(
                made.status, _WORDS[made.status], made.field, made.message, 5 if made.status == 503 else 0
            )
        return made

    async def _make_and_keep(self, key: str, sent: Sent) -> Made | Refused:
        made = await self.workers.make(sent)
        if isinstance(made, Made):
            self.numbers.time(made.seconds)
            try:
                async with self._disk:
                    await asyncio.to_thread(self._cache.put, key, made.content)
            except OutputError as error:  # it is answered all the same
                _log.warning("not kept: %s", error)
        elif made.status == 503:
            _log.warning("%s", made.message)
        return made

    def _busy(self) -> RequestError:
        return RequestError(
            429, "busy", "", "all processes are busy, and the queue is full; try again", self.workers.retry_after
        )
