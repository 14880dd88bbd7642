"""The application: which addresses there are, and what each answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import generate_latest

from manyeyes.serve.answers import About, Answer, Health, Problem, answer
from manyeyes.serve.batches import Batches, ClosedError, FullError, Look, Outcome
from manyeyes.serve.key import checking
from manyeyes.serve.limits import Limits
from manyeyes.serve.metrics import Counted, Metrics
from manyeyes.serve.receiving import BUSY, FIELD, RETRY, Receiver
from manyeyes.version import __version__

PREDICT = "/predict"
# The page is one file, and asks nobody but this server.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_BINARY = {"type": "string", "format": "binary"}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "array", "minItems": 1, "items": _BINARY}},
                }
            },
            "image/*": {"schema": _BINARY},
        },
    }
}
_RETRY_HEADER = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
_PROBLEMS: dict[int, str] = {
    400: "The body is not what its type says",
    408: "The body took too long to arrive",
    413: "Too many bytes or photos",
    415: "Neither a form nor a photo",
    422: "No photo",
    429: "Too many photos wait",
    500: "An error of the server, which is in its log",
    503: "The server is stopping",
    504: "The photos waited too long",
}


class Service:
    """One model, its line of photos, and the answers of each address."""

    def __init__(self, look: Look, about: About, limits: Limits) -> None:
        self.metrics = Metrics()
        self._about, self._limits = about, limits
        self._receiver = Receiver(limits)
        self._batches = Batches(look, limits, self.metrics.note_batch)
        self._page = (files("manyeyes.serve") / "page.html").read_text(encoding="utf-8")
        self.metrics.watch(self._batches.__len__)

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """At the end, what was accepted is answered."""
        yield
        await asyncio.to_thread(self._batches.close)

    async def predict(self, request: Request) -> Answer:
        """What each photo shows, and why. Photos that cannot be read have a place of their own in the answer."""
        async with self._receiver.photos(request) as sent:
            outcomes = await self._outcomes([one.data for one in sent])
        answers = [answer(one.name, outcome) for one, outcome in zip(sent, outcomes, strict=True)]
        for one in answers:
            self.metrics.photos.labels(one.status).inc()
        return Answer(photos=answers)

    async def _outcomes(self, photos: list[bytes]) -> list[Outcome]:
        try:
            waited_for = [asyncio.wrap_future(one) for one in self._batches.add(photos)]
        except FullError:
            raise HTTPException(429, BUSY, RETRY) from None
        except ClosedError:
            raise HTTPException(503, "the server is stopping") from None
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                return await asyncio.gather(*waited_for)
        except TimeoutError:
            raise HTTPException(504, "the photos waited too long: try again, with fewer") from None

    async def about(self) -> About:
        """The model, and what is taken on."""
        return self._about

    async def health(self) -> Any:
        """Whether photos are being looked at."""
        if self._batches.is_working:
            return Health(status="ok")
        return JSONResponse(Health(status="stopping").model_dump(), 503)

    async def prometheus(self) -> Response:
        """Counts and times, for Prometheus."""
        return Response(generate_latest(self.metrics.registry), media_type=PROMETHEUS)

    async def page(self) -> HTMLResponse:
        """A page on which to drop photos."""
        return HTMLResponse(self._page, headers=PAGE_HEADERS)


def make_app(look: Look, about: About, limits: Limits, key: str | None = None) -> FastAPI:
    """The application; ``look`` says what photos show. With a ``key``, only the page and ``/healthz`` do without it."""
    service = Service(look, about, limits)
    app = FastAPI(
        title="manyeyes",
        summary="What photos show, by several pre-trained vision models, and whom to trust photo by photo.",
        version=__version__,
        lifespan=service.lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Counted, metrics=service.metrics, path=PREDICT)
    app.add_exception_handler(Exception, _plainly)

    free = APIRouter()
    free.add_api_route("/", service.page, response_class=HTMLResponse, operation_id="page")
    free.add_api_route(
        "/healthz", service.health, response_model=Health, responses={503: {"model": Health}}, operation_id="health"
    )
    app.include_router(free)

    locked: dict[int | str, dict[str, Any]] = {401: _problem("No API key, or a wrong one")} if key else {}
    guarded = APIRouter(dependencies=[Depends(checking(key))] if key else [], responses=locked)
    guarded.add_api_route(
        PREDICT,
        service.predict,
        methods=["POST"],
        response_model=Answer,
        responses={status: _problem(words, status == 429) for status, words in _PROBLEMS.items()},
        openapi_extra=BODY,
        operation_id="predict",
    )
    guarded.add_api_route("/model", service.about, response_model=About, operation_id="model")
    guarded.add_api_route(
        "/metrics",
        service.prometheus,
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        operation_id="metrics",
    )

    async def openapi() -> JSONResponse:
        return JSONResponse(app.openapi())

    guarded.add_api_route("/openapi.json", openapi, include_in_schema=False)
    app.include_router(guarded)
    return app


def _problem(words: str, is_passing: bool = False) -> dict[str, Any]:
    return {"model": Problem, "description": words} | ({"headers": _RETRY_HEADER} if is_passing else {})


async def _plainly(_: Request, error: Exception) -> JSONResponse:
    """To those who ask, an error tells nothing of this machine; uvicorn logs it with its traceback."""
    return JSONResponse({"detail": "something went wrong here, and it is logged"}, 500)
