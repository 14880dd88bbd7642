"""From a request to photos: its body is read into memory, within limits of time and size."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from fastapi import HTTPException, Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from manyeyes.serve.limits import Limits

FIELD = "photos"
LONGEST_NAME = 255


@dataclass(frozen=True)
class Sent:
    """A photo's bytes, and what its sender calls it."""

    name: str
    data: bytes


class Receiver:
    """Reads requests, and knows how many bytes of them are held."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    @asynccontextmanager
    async def photos(self, request: Request) -> AsyncIterator[list[Sent]]:
        """The photos of a request; what they take of the room for all requests is given back at the end.

        Raises HTTPException: 400 for a body that is not what its type says, 408, 413, 415, 422 for one without photos,
        and 429.
        """
        kind = _kind(request)
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(self._limits.receive_seconds):
                    async for chunk in request.stream():
                        self._check(len(body) + len(chunk), len(chunk))
                        self._held += len(chunk)
                        body += chunk
            except TimeoutError:
                # What is still to come would be taken for the next request.
                raise HTTPException(408, _SLOW, {"Connection": "close"}) from None
            except ClientDisconnect:
                raise HTTPException(400, "the request ended before all of it was sent") from None
            sent = await _parts(request, bytes(body)) if kind == "multipart/form-data" else _one(bytes(body))
            self._check_photos(sent)
            yield sent
        finally:
            self._held -= len(body)

    def _check(self, received: int, fresh: int) -> None:
        if received > self._limits.request_bytes:
            raise HTTPException(413, f"a request may have {self._limits.request_bytes:,} bytes at most")
        if self._held + fresh > self._limits.held_bytes:
            raise HTTPException(429, BUSY, RETRY)

    def _check_photos(self, sent: list[Sent]) -> None:
        if not sent:
            raise HTTPException(422, f"there is no photo: send files as the form's field {FIELD!r}, or one as the body")
        if len(sent) > self._limits.request_photos:
            raise HTTPException(413, f"a request may have {self._limits.request_photos} photos at most")
        for number, one in enumerate(sent, 1):
            if len(one.data) > self._limits.photo_bytes:
                raise HTTPException(
                    413, f"photo {number} has {len(one.data):,} bytes; at most {self._limits.photo_bytes:,} are taken"
                )


BUSY = "too many photos wait: try again later"
RETRY = {"Retry-After": "1"}
_SLOW = "the request took too long to arrive"


def _kind(request: Request) -> str:
    kind = parse_options_header(request.headers.get("Content-Type"))[0].decode("latin-1").lower()
    if kind != "multipart/form-data" and not kind.startswith("image/"):
        raise HTTPException(415, "send photos as multipart/form-data, or one as a body of the type image/*")
    return kind


def _one(body: bytes) -> list[Sent]:
    return [Sent("photo", body)] if body else []


async def _parts(request: Request, body: bytes) -> list[Sent]:
    """The files of a form's field ``photos``; other fields do not matter."""
    _check_end(request, body)

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, whole())
    parser.spool_max_size = len(body) + 1  # or larger photos would be written to a disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, f"the body is no multipart/form-data: {error.message}") from None
    try:
        files = form.getlist(FIELD)
        if not all(isinstance(file, UploadFile) for file in files):
            raise HTTPException(422, f"the form's field {FIELD!r} must be files, with file names")
        return [Sent(_name(file.filename), await file.read()) for file in files if isinstance(file, UploadFile)]
    finally:
        await form.close()


def _check_end(request: Request, body: bytes) -> None:
    """The parser does not mind a body that was cut, and leaves out the photo that was."""
    boundary = parse_options_header(request.headers["Content-Type"])[1].get(b"boundary")
    if boundary is not None and b"--" + boundary + b"--" not in body:
        raise HTTPException(400, "the body is no multipart/form-data: it has no end")


def _name(given: str | None) -> str:
    """Without the folders that it may come with."""
    return PurePosixPath((given or "").replace("\\", "/")).name[:LONGEST_NAME] or "photo"
