"""Rows are gathered into few shards; whatever ends the work, what was added is kept."""

from pathlib import Path

import numpy as np
import pytest

from manyeyes.errors import StoreError
from manyeyes.features import writer
from manyeyes.features.space import Space
from manyeyes.features.store import FeatureStore
from manyeyes.features.writer import ShardWriter

SPACES = [Space("one", {"a": 1}), Space("two", {"a": 2})]
PHOTOS = [f"{number:064x}" for number in range(40)]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path)


def add(writer: ShardWriter, space: Space, *rows: int) -> None:
    writer.add(space, [PHOTOS[row] for row in rows], {"h": np.array([[row, row**2] for row in rows], np.float32)})


def check(store: FeatureStore, space: Space, *rows: int) -> None:
    found = store.read(space, [PHOTOS[row] for row in rows])["h"]
    np.testing.assert_array_equal(found, [[row, row**2] for row in rows])


def shards(tmp_path: Path, space: Space) -> int:
    return len(list((tmp_path / space.folder).glob("shard-*")))


def test_rows_are_written_together_when_there_are_enough(store, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "PHOTOS", 10)
    with ShardWriter(store) as shard_writer:
        for row in range(0, 24, 3):
            add(shard_writer, SPACES[0], row, row + 1, row + 2)
            if row < 6:
                add(shard_writer, SPACES[1], row)
            shard_writer.write_if_due()
    assert [shards(tmp_path, space) for space in SPACES] == [2, 1]
    check(store, SPACES[0], *range(24))
    check(store, SPACES[1], 0, 3)


def test_rows_do_not_wait_long(store, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(writer.time, "monotonic", lambda: now[0])
    with ShardWriter(store) as shard_writer:
        for row in range(6):
            add(shard_writer, SPACES[0], row)
            shard_writer.write_if_due()
            now[0] += writer.SECONDS / 2.5
    assert shards(tmp_path, SPACES[0]) == 2
    check(store, SPACES[0], *range(6))


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, MemoryError])
def test_what_was_finished_is_kept_whatever_ends_the_work(store, error):
    with pytest.raises(error), ShardWriter(store) as shard_writer:
        add(shard_writer, SPACES[0], 5, 7)
        raise error
    check(store, SPACES[0], 7, 5)


def test_a_store_that_failed_is_not_tried_again(store, tmp_path):
    with pytest.raises(StoreError, match="the first"), ShardWriter(store) as shard_writer:
        add(shard_writer, SPACES[0], 1)
        raise StoreError("the first")
    assert shards(tmp_path, SPACES[0]) == 0


def test_what_an_interrupted_writing_left_is_written_at_the_end(store, monkeypatch):
    write, times = FeatureStore.write, iter([KeyboardInterrupt])

    def interrupted(*given):
        if (error := next(times, None)) is not None:
            raise error
        write(*given)

    monkeypatch.setattr(FeatureStore, "write", interrupted)
    monkeypatch.setattr(writer, "PHOTOS", 2)
    with pytest.raises(KeyboardInterrupt), ShardWriter(store) as shard_writer:
        for space in SPACES:
            add(shard_writer, space, 3, 4)
        shard_writer.write_if_due()
    for space in SPACES:
        check(store, space, 4, 3)
