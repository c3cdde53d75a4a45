"""The service's addresses, and who may use them."""

import asyncio
import hmac
import io
import logging
import zipfile
from typing import Any
from urllib.parse import urlsplit

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from bilayer.export.serve.cache import KEY
from bilayer.export.serve.options import Wanted
from bilayer.export.serve.request import RequestError
from bilayer.export.serve.service import Service
from bilayer.runtime.command.extras import installed_versions
from bilayer.runtime.vocabulary import LOOPBACK

_OPEN = ("/health/live", "/health/ready")  # without a token: they tell nothing of anybody
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": text}
    for status, text in {
        400: "broken form",
        401: "no token, or a wrong one",
        403: "asked by a page of another host",
        408: "the request came too slowly",
        413: "the request is too large",
        415: "no picture",
        422: "the photo, or an option, cannot be used: error, field, message, way_out",
        429: "busy: Retry-After says when to try again",
        503: "a process or tool of the service is missing",
        504: "the avatar took too long",
    }.items()
}
_ZIP: dict[int | str, dict[str, Any]] = {200: {"description": "the bundle", "content": {"application/zip": {}}}}
_TYPES = {"json": "application/json", "png": "image/png"}

_log = logging.getLogger(__name__)


def make_app(service: Service, token: str | None) -> FastAPI:
    """Return the service as an ASGI application; each request must bear `token` where there is one."""
    # Their pages would fetch JavaScript from another host; the description itself is at /openapi.json
    app = FastAPI(
        title="bilayer-serve",
        description="A photo in, an avatar's bundle out.",
        version=installed_versions(("bilayer",)).get("bilayer", "unknown"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # to a name that the client gave
    )

    @app.middleware("http")
    async def admit(request: Request, call_next: Any) -> Any:
        refused = None if request.url.path in _OPEN else _refused(request, token)
        try:
            answer = _told(refused) if refused else await call_next(request)
        except asyncio.CancelledError:  # by uvicorn, which has waited for its answer for long enough
            answer = _told(RequestError(503, "service", "", "the service is ending; send the photo again", 5))
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Cache-Control"] = "no-store"  # a face is for who asked
        return answer

    @app.exception_handler(RequestError)
    async def problem(_: Request, error: RequestError) -> Response:
        return _told(error)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        return _told(
            RequestError(error.status_code, "address", "", f"{error.detail}; /openapi.json tells the addresses")
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return _told(RequestError(422, "options", "", "the address does not fit; /openapi.json tells the addresses"))

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        service.numbers.count("failed")
        return _told(RequestError(500, "failed", "", "the service failed; tell who runs it, whose log has more"))

    @app.post("/avatars", response_class=Response, responses={**_ZIP, **_ERRORS}, openapi_extra=_asked())
    async def make(request: Request) -> Response:
        """Make the avatar of a photo: a zip of its bundle, whose key is in the header Location."""
        key, content = await service.avatar(request)
        return _zip(key, content)

    @app.get("/avatars/{key}", response_class=Response, responses={**_ZIP, 404: {"description": "no longer kept"}})
    async def again(key: str) -> Response:
        """The zip of an avatar made before."""
        return _zip(key, await kept(key))

    @app.get("/avatars/{key}/{name}", response_class=Response, responses={404: {"description": "no such file"}})
    async def part(key: str, name: str) -> Response:
        """One file of it, such as avatar.dlc."""
        with zipfile.ZipFile(io.BytesIO(await kept(key))) as archive:
            if name not in archive.namelist():
                there = ", ".join(archive.namelist())
                raise RequestError(404, "address", "name", f"no such file of the avatar; it has {there}")
            media = _TYPES.get(name.rpartition(".")[2], "application/octet-stream")
            return Response(archive.read(name), media_type=media)

    async def kept(key: str) -> bytes:
        content = await service.kept(key) if KEY.fullmatch(key) else None
        if content is None:
            raise RequestError(404, "address", "key", "no avatar of that key is kept; send its photo again")
        return content

    @app.get("/health/live")
    async def live() -> dict[str, bool]:
        """Whether the service answers."""
        return {"live": True}

    @app.get("/health/ready", responses={503: {"description": "the checkpoint is not loaded"}})
    async def ready() -> JSONResponse:
        """Whether photos are taken."""
        return JSONResponse({"ready": service.workers.ready}, 200 if service.workers.ready else 503)

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Numbers for Prometheus."""
        return Response(service.numbers.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app


def _refused(request: Request, token: str | None) -> RequestError | None:
    """Why a request may not be answered; None where it may."""
    if token is not None:
        given = request.headers.get("authorization", "").encode()
        if hmac.compare_digest(given, f"Bearer {token}".encode()):
            return None
        return RequestError(
            401,
            "token",
            "Authorization",
            "Authorization: expected Bearer and the token of the service; ask who runs it for that",
        )
    # A page of another host, or of a name that points to this address, must not reach a service of this machine
    host, origin = _host(f"//{request.headers.get('host', '')}"), _host(request.headers.get("origin", ""))
    if host in LOOPBACK and (origin in LOOPBACK or "origin" not in request.headers):
        return None
    return RequestError(403, "host", "Host", "this service is for its own machine; ask it at 127.0.0.1")


def _host(address: str) -> str | None:
    """The host of a URL; None where there is none, or the URL is none."""
    try:
        return urlsplit(address).hostname
    except ValueError:  # a bracket without its other, and what else is no name
        return None


def _told(problem: RequestError) -> JSONResponse:
    headers = {"Retry-After": str(problem.retry_after)} if problem.retry_after else {}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(problem.content, problem.status, headers)


def _zip(key: str, content: bytes) -> Response:
    headers = {
        "Location": f"/avatars/{key}",
        "ETag": f'"{key}"',
        "Content-Disposition": 'attachment; filename="avatar.zip"',
    }
    return Response(content, media_type="application/zip", headers=headers)


def _asked() -> dict[str, Any]:
    """What OpenAPI says of a photo's request: its body is read by our own bounds, and so not by FastAPI."""
    options = msgspec.json.schema(Wanted)["$defs"]["Wanted"]["properties"]
    file = {"type": "string", "format": "binary"}
    form = {"type": "object", "required": ["photo"], "properties": {"photo": file, "landmarks": file, **options}}
    kinds = {
        "multipart/form-data": {"schema": form},
        "image/*": {"schema": file},
        "application/octet-stream": {"schema": file},
    }
    query = [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in options.items()]
    return {"parameters": query, "requestBody": {"required": True, "content": kinds}}
