"""uvicorn's HTTP, with an end for connections that say nothing, or do not read what they asked for."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS = 10.0  # s for a request's line and headers, which uvicorn itself would wait for without end
READING = 60.0  # s in which a client must take the next 64 KB of its answer


class PatientProtocol(H11Protocol):
    """A connection of the service."""

    _headers: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for headers, but not for long."""
        super().connection_made(transport)
        self._headers = self.loop.call_later(HEADERS, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Go on; half of the headers are none."""
        super().data_received(data)
        incomplete = self.conn.their_state is h11.IDLE and (self.cycle is None or self.cycle.response_complete)
        if not incomplete:
            self._headers = _cancelled(self._headers)
        elif self._headers is None:
            self._headers = self.loop.call_later(HEADERS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers: nobody is there to wait for."""
        self._headers, self._reading = _cancelled(self._headers), _cancelled(self._reading)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read: wait, but not for long."""
        super().pause_writing()
        if self._reading is None:
            self._reading = self.loop.call_later(READING, self.transport.abort)

    def resume_writing(self) -> None:
        """Cancel the timer of a client that did not read: it reads again."""
        self._reading = _cancelled(self._reading)
        super().resume_writing()

    def _give_up(self) -> None:
        self._headers = None
        if not self.transport.is_closing():
            self.transport.close()


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    if timer is not None:
        timer.cancel()
    return None
