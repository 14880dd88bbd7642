"""Photos of several requests, looked at together: they wait in a line, and one thread takes as many as there are."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread

from manyeyes.images import Rejected
from manyeyes.predictions import Prediction
from manyeyes.serve.limits import Limits

Outcome = Prediction | Rejected
Look = Callable[[Sequence[bytes]], Sequence[Outcome]]


class FullError(Exception):
    """There is no room in the line for so many photos."""


class ClosedError(Exception):
    """The line takes no photos any more."""


@dataclass(frozen=True)
class _Waiting:
    photo: bytes
    outcome: "Future[Outcome]" = field(default_factory=Future)


class Batches:
    """The line and its thread.

    ``look`` is called by that thread only. ``noted`` is told of each batch: photos, and seconds that it took. Who no
    longer wants an outcome cancels its future; a photo that is not being looked at by then never is.
    """

    def __init__(self, look: Look, limits: Limits, noted: Callable[[int, float], None]) -> None:
        self._look, self._limits, self._noted = look, limits, noted
        self._line: deque[_Waiting] = deque()
        self._changed = Condition()
        self._is_open = True
        # A daemon, so that a second Ctrl-C ends the program whatever the model is doing.
        self._thread = Thread(target=self._work, name="looks at photos", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Photos that wait."""
        return len(self._line)

    @property
    def is_working(self) -> bool:
        return self._is_open and self._thread.is_alive()

    def add(self, photos: Sequence[bytes]) -> "list[Future[Outcome]]":
        """Put photos in the line, all or none. Raises FullError and ClosedError."""
        waiting = [_Waiting(photo) for photo in photos]
        with self._changed:
            if not self._is_open:
                raise ClosedError
            if len(self._line) + len(waiting) > self._limits.waiting:
                raise FullError
            self._line.extend(waiting)
            self._changed.notify()
        return [one.outcome for one in waiting]

    def close(self) -> None:
        """Take no more photos, and return when those that wait are looked at."""
        with self._changed:
            self._is_open = False
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while self._wait():
            wanted = [one for one in self._take() if one.outcome.set_running_or_notify_cancel()]
            if wanted:
                self._answer(wanted)

    def _wait(self) -> bool:
        """Until there is a batch. False when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._line or not self._is_open)
            enough = self._limits.batch
            self._changed.wait_for(
                lambda: len(self._line) >= enough or not self._is_open, timeout=self._limits.gather_seconds
            )
            return bool(self._line)

    def _take(self) -> list[_Waiting]:
        with self._changed:
            return [self._line.popleft() for _ in range(min(len(self._line), self._limits.batch))]

    def _answer(self, batch: list[_Waiting]) -> None:
        start = time.perf_counter()
        try:
            outcomes = list(zip(batch, self._look([one.photo for one in batch]), strict=True))
        except Exception as error:
            if len(batch) == 1:
                batch[0].outcome.set_exception(error)
                return
            for one in batch:  # it may be the fault of one photo, which is not the others'
                self._answer([one])
            return
        self._noted(len(batch), time.perf_counter() - start)
        for one, outcome in outcomes:
            one.outcome.set_result(outcome)
