"""The line of photos and its thread."""

import threading
import time

import pytest

from manyeyes.images import Reason, Rejected
from manyeyes.serve.batches import Batches, ClosedError, FullError
from manyeyes.serve.limits import Limits


class Model:
    """Says that photos cannot be read, and waits before it does."""

    def __init__(self):
        self.batches = []
        self.asked, self.go = threading.Event(), threading.Event()

    def __call__(self, photos):
        self.batches.append(list(photos))
        self.asked.set()
        assert self.go.wait(10)
        return [Rejected(photo.decode(), Reason.EMPTY, "") for photo in photos]


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def noted():
    return []


@pytest.fixture
def line(model, noted):
    limits = Limits(waiting=6, request_photos=6, batch=4, gather_seconds=0)
    line = Batches(model, limits, lambda photos, seconds: noted.append((photos, seconds)))
    yield line
    model.go.set()
    line.close()


def test_what_came_meanwhile_is_looked_at_together(line, model, noted):
    first = line.add([b"0"])
    model.asked.wait(10)
    others = line.add([b"1", b"2"]) + line.add([b"3", b"4", b"5"])
    assert len(line) == 5
    model.go.set()
    assert [one.result(10).path for one in first + others] == ["0", "1", "2", "3", "4", "5"]
    assert model.batches == [[b"0"], [b"1", b"2", b"3", b"4"], [b"5"]]
    assert [photos for photos, _ in noted] == [1, 4, 1]


def test_a_photo_waits_for_others_a_while(model):
    model.go.set()
    line = Batches(model, Limits(batch=2, gather_seconds=5), lambda photos, seconds: None)
    start = time.monotonic()
    line.add([b"0"])
    (second,) = line.add([b"1"])
    second.result(10)
    line.close()
    assert model.batches == [[b"0", b"1"]]
    assert time.monotonic() - start < 4  # there were enough


def test_a_full_line_takes_all_of_a_request_or_nothing(line, model):
    line.add([b"0"])
    model.asked.wait(10)
    line.add([b"1"] * 5)
    with pytest.raises(FullError):
        line.add([b"2"] * 2)
    assert len(line) == 5


def test_what_nobody_waits_for_is_not_looked_at(line, model):
    line.add([b"0"])
    model.asked.wait(10)
    gone, stays = line.add([b"1", b"2"])
    assert gone.cancel()
    model.go.set()
    stays.result(10)
    assert model.batches == [[b"0"], [b"2"]]


def test_at_the_end_all_that_wait_are_answered(line, model):
    waiting = line.add([b"0", b"1", b"2", b"3", b"4"])
    threading.Timer(0.1, model.go.set).start()
    assert line.is_working
    line.close()
    assert all(one.done() for one in waiting)
    assert not line.is_working
    with pytest.raises(ClosedError):
        line.add([b"5"])
