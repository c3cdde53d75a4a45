"""`bilayer-serve`: photos in, bundles out, by HTTP."""

import logging
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING

import click

from bilayer.export.convert.tools import check_converter, default_target
from bilayer.export.options import ConversionTarget, ExportOptions, check_finders, check_usual
from bilayer.export.serve.options import ServeOptions
from bilayer.runtime.command.console import Command, as_json_option, show, tell
from bilayer.runtime.command.options import fills
from bilayer.runtime.errors import BilayerError, InputError, OutputError, ToolMissingError
from bilayer.runtime.files.reading import FileKind, read_text
from bilayer.runtime.files.released import cache_folder
from bilayer.runtime.files.writing import check_output
from bilayer.runtime.process.undisturbed import undisturbed
from bilayer.runtime.vocabulary import LOOPBACK
from bilayer.runtime.web.server import NOT_BOUND, why_not_bound

if TYPE_CHECKING:
    import uvicorn
    from pebble import ProcessFuture

    from bilayer.export.serve.workers import MadeBy, WorkerPool

TOKEN = "BILAYER_TOKEN"  # noqa: S105  # the name of the variable
_SHORTEST = 16  # characters of a token
_DRAIN = 30  # s that requests in work have, once the service is to end
_CONNECTIONS = 256  # at once; a further one is told 503


@click.command(cls=Command)
@fills(ServeOptions)
@as_json_option
def main(options: ServeOptions, as_json: bool) -> None:
    """Serve avatars by HTTP: POST a photo to /avatars, get the zip of its bundle (docs/serve.md).

    Ctrl-C, or SIGTERM, answers what is in work and ends. Photos are not kept; avatars are, up to --cache-size.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # a broken form is its client's matter
    uvicorn_log = logging.getLogger("uvicorn.error")
    uvicorn_log.setLevel(logging.ERROR)  # and so is what is no HTTP
    uvicorn_log.addFilter(lambda record: not _tells_of_the_end(record))
    token = _token(options)
    check_usual(usual := ExportOptions("", target=options.target, checkpoint=options.checkpoint))
    _check_networks(usual)
    _check_converter(options.target)
    place = options.cache or cache_folder() / "serve"
    check_output(place / "lock")
    import uvicorn

    from bilayer.export.serve.app import make_app
    from bilayer.export.serve.cache import Cache, own_folder
    from bilayer.export.serve.protocol import PatientProtocol
    from bilayer.export.serve.service import Service
    from bilayer.export.serve.workers import ready_to_start

    with own_folder(place) as (avatars, work), _bound(options) as listening, ready_to_start(options, work) as workers:
        app = make_app(Service(options, workers, Cache(avatars, options.cache_size << 20)), token)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=PatientProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=_CONNECTIONS,
                timeout_graceful_shutdown=_DRAIN,
            )
        )
        failed: list[BilayerError] = []
        name = f"[{options.host}]" if ":" in options.host else options.host
        address = f"http://{name}:{listening.getsockname()[1]}"
        with undisturbed(lambda: _end(server)):  # of what is half started it could not be known how it is to be ended
            loading = workers.start()
            threading.Thread(target=_prepare, args=(workers, loading, server, failed), daemon=True).start()
            show({"address": address}, lambda: address, as_json)
            sys.stdout.flush()
            server.run([listening])
        if failed:
            raise failed[0]


def _prepare(
    workers: "WorkerPool", loading: "ProcessFuture[MadeBy]", server: "uvicorn.Server", failed: list[BilayerError]
) -> None:
    """Say when the checkpoint is loaded, or end the server if it cannot be."""
    try:
        workers.await_checkpoint(loading)
    except BilayerError as error:
        failed.append(error)
    except Exception as error:
        failed.append(InputError(f"a process cannot start ({type(error).__name__}); is --memory enough for one?"))
    else:
        tell("ready", "the checkpoint is loaded")
        return
    _end(server)


def _tells_of_the_end(record: logging.LogRecord) -> bool:
    """Whether it is the traceback of a request that was in work as the service had waited for long enough."""
    from asyncio import CancelledError

    return record.exc_info is not None and isinstance(record.exc_info[1], CancelledError)


def _end(server: "uvicorn.Server") -> None:
    server.should_exit = True


def _token(options: ServeOptions) -> str | None:
    """The token that requests must bear, if any.

    Raises:
        UsageError: none is given, and the host is not loopback.
        InputError: it is too short to be one.
    """
    if options.token_file is not None:
        where, token = str(options.token_file), read_text(options.token_file, FileKind.TOKEN).strip()
    else:
        where, token = f"${TOKEN}", os.environ.get(TOKEN, "").strip()
        if not token:
            if options.host in LOOPBACK:
                return None
            raise click.UsageError(f"--host {options.host} is not loopback: give --token-file FILE, or set ${TOKEN}")
    if len(token) < _SHORTEST or not (token.isascii() and token.isprintable()):
        raise InputError(
            f"{where}: expected a token of {_SHORTEST} or more ASCII characters, found {len(token)}; "
            "make one: openssl rand -hex 32"
        )
    return token


def _check_networks(usual: ExportOptions) -> None:
    """Warn where requests that bring no landmarks, or ask for a mask, would each fail."""
    try:
        check_finders(usual)
    except ToolMissingError as error:
        tell("warning", f"requests are refused but for those with landmarks and without a mask: {error}")


def _check_converter(target: ConversionTarget | None) -> None:
    """Tell of a converter that is not there before each request does without it.

    Raises:
        ToolMissingError: it was asked for; of what is taken where nothing is asked for a warning is printed.
    """
    try:
        check_converter(target or default_target())
    except ToolMissingError as error:
        if target is not None:
            raise ToolMissingError(f"--target {target}: {error}; or serve without a .dlc: --target none") from error
        tell("warning", f"avatars will have no .dlc: {error}; --target none says that this is meant")


def _bound(options: ServeOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family, backlog=128)
    except NOT_BOUND as error:
        raise OutputError(f"{options.host}:{options.port}: {why_not_bound(error)}") from error


if __name__ == "__main__":
    main(prog_name="bilayer-serve")
