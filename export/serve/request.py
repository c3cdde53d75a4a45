"""A request's body, read to its bounds of size and time, as what an avatar is made from."""

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from bilayer.export.serve.options import Wanted
from bilayer.export.serve.work import PHOTO
from bilayer.export.serve.workers import Sent
from bilayer.runtime.errors import InputError
from bilayer.runtime.typed_json import typed
from bilayer.runtime.vocabulary import LANDMARK_SUFFIXES

Value = TypeVar("Value")
_FIELDS = 16  # of a form, at most
_FIELD_BYTES = 1024


class RequestError(Exception):
    """A request that is not answered with an avatar: HTTP's status, a word for programs, the field, and why."""

    def __init__(self, status: int, error: str, field: str, message: str, retry_after: int = 0) -> None:
        super().__init__(message)
        self.status, self.error, self.field, self.message, self.retry_after = status, error, field, message, retry_after

    @property
    def content(self) -> dict[str, str]:
        """The body of the answer, as JSON values."""
        what, _, way_out = self.message.partition("; ")
        return {"error": self.error, "field": self.field, "message": what, "way_out": way_out}


async def read_request(request: Request, most: int, seconds: float) -> Sent:
    """Return what a request holds, of at most `most` bytes, which have come within `seconds`.

    Raises:
        RequestError: it is too large, too slow, of another type, broken, or asks for what there is not.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data" and not kind.startswith("image/") and kind != "application/octet-stream":
        found = kind[:60] or "nothing"
        expected = "expected multipart/form-data, image/... or application/octet-stream"
        raise RequestError(
            415, "content type", "Content-Type", f"Content-Type: {expected}, found {found}; send the photo"
        )
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:  # need not be read to be refused
        raise _too_large(most)
    try:
        async with asyncio.timeout(seconds):
            return await (_form(request, most) if kind == "multipart/form-data" else _raw(request, most))
    except TimeoutError:
        message = f"the request had not come after {seconds:g} s; send a smaller photo"
        raise RequestError(408, "too slow", "body", message) from None
    except ClientDisconnect:
        raise RequestError(400, "gone", "body", "the client left before its request was whole; send it again") from None


async def _raw(request: Request, most: int) -> Sent:
    photo = bytearray()
    async for chunk in _bounded(request, most):
        photo += chunk
    return Sent(_not_empty(bytes(photo)), _wanted(_once(request.query_params.multi_items())))


async def _form(request: Request, most: int) -> Sent:
    parser = MultiPartParser(
        request.headers, _bounded(request, most), max_files=2, max_fields=_FIELDS, max_part_size=_FIELD_BYTES
    )
    parser.spool_max_size = most + 1  # never on the disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Part exceeded" in error.message:
            message = f"a field that is no file has more than {_FIELD_BYTES} bytes; send the photo with a file's name"
            raise RequestError(400, "multipart", "body", message) from None
        raise RequestError(
            400, "multipart", "body", f"the form is not whole ({error.message[:100]}); send it anew"
        ) from None
    except (ValueError, LookupError, AssertionError, KeyError):  # of a header or a boundary that is none
        raise RequestError(400, "multipart", "body", "the form is not one; send multipart/form-data") from None
    try:
        return await _of_form(form, request.query_params.multi_items())
    finally:
        await form.close()


async def _of_form(form: FormData, query: list[tuple[str, str]]) -> Sent:
    files = _once([(_text(name), value) for name, value in form.multi_items() if isinstance(value, UploadFile)])
    texts = [(_text(name), _text(value)) for name, value in form.multi_items() if isinstance(value, str)]
    if unknown := sorted(files.keys() - {PHOTO, "landmarks"}):
        raise RequestError(422, "options", unknown[0][:60], f"{unknown[0][:60]}: no such file; send photo, landmarks")
    photo = await files[PHOTO].read() if PHOTO in files else b""
    landmarks, suffix = None, ".json"
    if "landmarks" in files:
        landmarks = await files["landmarks"].read()
        name = (files["landmarks"].filename or "").lower()
        suffix = next((known for known in LANDMARK_SUFFIXES if name.endswith(known)), suffix)
    return Sent(_not_empty(photo), _wanted(_once(query + texts)), landmarks, suffix)


def _once(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    """What is sent, by its names; a RequestError where one comes twice: nobody could tell which counts."""
    names = [name[:60] for name, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise RequestError(422, "options", twice, f"{twice}: sent more than once; send it once")
    return dict(pairs)


def _text(sent: str) -> str:
    """A form's text as UTF-8 can tell it: by its own charset, such as utf-7, it may have halves of a character."""
    return sent.encode(errors="replace").decode()


async def _bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    """The body as it comes, counted: what its header said of its length may be wrong, or nothing."""
    read = 0
    async for chunk in request.stream():
        read += len(chunk)
        if read > most:
            raise _too_large(most)
        yield chunk


def _too_large(most: int) -> RequestError:
    return RequestError(413, "too large", "body", f"expected at most {most} bytes, found more; scale the photo down")


def _not_empty(photo: bytes) -> bytes:
    if not photo:
        raise RequestError(
            422, PHOTO, PHOTO, "photo: expected a picture, found nothing; send a file in the field photo"
        )
    return photo


def _wanted(given: dict[str, str]) -> Wanted:
    try:
        return typed(Wanted, given, "", "/openapi.json tells the options", text=True)
    except InputError as error:
        message = str(error)
        field = next((name for name in given if message.startswith(name)), "options")
        raise RequestError(422, "options", field[:60], message) from None
