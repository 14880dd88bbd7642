"""What the server tells of its work, for Prometheus."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """In a registry of its own, so that several servers may live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "manyeyes_requests", "Requests for predictions, by status", ["status"], registry=self.registry
        )
        self.seconds = Histogram(
            "manyeyes_request_seconds",
            "From a request's first byte to the answer's last",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.photos = Counter("manyeyes_photos", "Photos, by outcome", ["outcome"], registry=self.registry)
        self.waiting = Gauge("manyeyes_waiting_photos", "Photos that wait to be looked at", registry=self.registry)
        self.batches = Histogram(
            "manyeyes_batch_photos", "Photos that were looked at together", buckets=SIZES, registry=self.registry
        )
        self.looking = Histogram(
            "manyeyes_batch_seconds", "Seconds that a batch took", buckets=SECONDS, registry=self.registry
        )

    def note_batch(self, photos: int, seconds: float) -> None:
        self.batches.observe(photos)
        self.looking.observe(seconds)

    def watch(self, waiting: Callable[[], float]) -> None:
        self.waiting.set_function(waiting)


class Counted:
    """ASGI middleware: counts the requests to one path, those that are refused too."""

    def __init__(self, app: ASGIApp, metrics: Metrics, path: str) -> None:
        self._app, self._metrics, self._path = app, metrics, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500  # so it is answered when an error comes through here

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._metrics.requests.labels(status).inc()
            self._metrics.seconds.observe(time.perf_counter() - start)
