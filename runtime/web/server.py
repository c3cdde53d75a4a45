"""A server of one site, out of memory: for this machine, with the headers that threads need."""

import errno
import socket
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from bilayer.runtime.errors import OutputError
from bilayer.runtime.vocabulary import LOOPBACK
from bilayer.runtime.web.site import ISOLATION, Site

TYPES = {
    "css": "text/css",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript",
    "json": "application/json",
    "mjs": "text/javascript",
    "png": "image/png",
    "txt": "text/plain; charset=utf-8",
    "wasm": "application/wasm",
}
NOT_BOUND = (OSError, TypeError, UnicodeError)  # of sockets; the latter two of a name that no host can have


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60  # s: a connection that says nothing

    def __init__(self, site: Site, local: bool, *args: Any) -> None:
        self._site, self._local = site, local
        super().__init__(*args)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        try:
            path, host = urlsplit(self.path).path, urlsplit(f"//{self.headers.get('Host', '')}").hostname
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        address = unquote(path).lstrip("/") or "index.html"
        content = self._site.files.get(address)
        # A page of another name that points to this address must not read somebody's face
        allowed = host in LOOPBACK or not self._local
        status = HTTPStatus.FORBIDDEN if not allowed else HTTPStatus.OK if content is not None else HTTPStatus.NOT_FOUND
        if status is not HTTPStatus.OK or content is None:
            content, address = f"{status.value} {status.phrase}\n".encode(), ".txt"
        self.send_response(status)
        self.send_header("Content-Type", TYPES.get(address.rpartition(".")[2], "application/octet-stream"))
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in ISOLATION.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a line for every file is of no use."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a browser that closes its connection is no error."""


def open_server(site: Site, host: str = "127.0.0.1", port: int = 0) -> ThreadingHTTPServer:
    """Return a server for `serve_forever` to run, an OutputError if the address cannot be had; port 0 is a free one."""
    try:
        return _Server((host, port), partial(_Handler, site, host in LOOPBACK))
    except NOT_BOUND as error:
        raise OutputError(f"{host}:{port}: {why_not_bound(error)}") from error


def why_not_bound(error: Exception) -> str:
    """Return what is to be said of an address that a server cannot have, with the way out."""
    said = error.strerror if isinstance(error, OSError) else None
    port = isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES)
    way_out = "try --port 0" if port else "give --host an address of this machine"
    return f"cannot serve there: {said or error}; {way_out}"
