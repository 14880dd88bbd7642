"""Damaged and foreign shards are set aside: their photos count as missing, and nothing wrong is ever returned."""

import logging
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyeyes.errors import StoreError
from manyeyes.features import reader
from manyeyes.features.shelf import LocalShelf
from manyeyes.features.space import Space
from manyeyes.features.store import FeatureStore

SPACE = Space("toy", {"weights": "1"})
PHOTOS = [bytes([number] * 32).hex() for number in range(4)]
H = np.arange(8, dtype=np.float32).reshape(4, 2)
LABELS = np.arange(12, dtype=np.int16).reshape(4, 3)


def write(store: FeatureStore, first: int, stop: int) -> Path:
    """A shard of those photos' rows."""
    before = set(store.root.rglob("shard-*.parquet"))
    store.write(SPACE, PHOTOS[first:stop], {"h": H[first:stop], "label_index": LABELS[first:stop]})
    (shard,) = set(store.root.rglob("shard-*.parquet")) - before
    return shard


def check(store: FeatureStore, missing: list[str]) -> None:
    """Only ``missing`` is missing; the other photos have their true rows."""
    assert store.missing(SPACE, PHOTOS) == missing
    rows = [row for row, photo in enumerate(PHOTOS) if photo not in missing]
    found = store.read(SPACE, [PHOTOS[row] for row in rows])
    np.testing.assert_array_equal(found["h"], H[rows])
    np.testing.assert_array_equal(found["label_index"], LABELS[rows])
    if missing:
        with pytest.raises(StoreError):
            store.read(SPACE, missing)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features")


def test_a_flipped_bit_anywhere_is_noticed(store):
    whole = write(store, 0, 2)
    shard = write(store, 2, 4)
    data = shard.read_bytes()
    for place in range(0, len(data), 3):
        flipped = bytearray(data)
        flipped[place] ^= 1 << (place % 8)
        shard.write_bytes(flipped)
        check(store, missing=PHOTOS[2:])
        assert whole.exists()
    check(store, missing=PHOTOS[2:])


@pytest.mark.parametrize("look", [FeatureStore.missing, FeatureStore.read])
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_shard_is_set_aside_and_can_be_written_again(store, share, look, caplog):
    write(store, 0, 2)
    shard = write(store, 2, 4)
    shard.write_bytes(shard.read_bytes()[: int(shard.stat().st_size * share)])
    with caplog.at_level(logging.WARNING):
        if look is FeatureStore.read:
            with pytest.raises(StoreError):
                store.read(SPACE, PHOTOS)
        else:
            assert store.missing(SPACE, PHOTOS) == PHOTOS[2:]
    assert str(shard) in caplog.text
    check(store, missing=PHOTOS[2:])
    assert shard.with_suffix(".damaged").exists()

    assert write(store, 2, 4) == shard
    check(store, missing=[])
    store.prune()
    assert not shard.with_suffix(".damaged").exists()
    check(store, missing=[])


@settings(max_examples=150, deadline=None)
@given(damage=st.data(), look_first=st.sampled_from([FeatureStore.missing, FeatureStore.read]))
def test_whatever_is_cut_off_flipped_or_written_over_is_never_returned(tmp_path_factory, damage, look_first):
    store = FeatureStore(tmp_path_factory.mktemp("features"))
    write(store, 0, 2)
    shard = write(store, 2, 4)
    data = whole = shard.read_bytes()
    places = st.integers(0, len(whole) - 1)
    kind = damage.draw(st.sampled_from(["cut off", "flipped", "written over", "moved", "longer"]))
    if kind == "cut off":
        data = whole[: damage.draw(places)]
    elif kind == "longer":
        data = whole + damage.draw(st.binary(min_size=1))
    elif kind == "flipped":
        for place, bit in damage.draw(st.dictionaries(places, st.integers(0, 7), min_size=1, max_size=5)).items():
            data = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
    elif kind == "written over":
        place, other = damage.draw(places), damage.draw(st.binary(min_size=1, max_size=200))
        data = data[:place] + other + data[place + len(other) :]
    else:
        place = damage.draw(places)
        data = whole[place:] + whole[:place]
    shard.write_bytes(data)
    if look_first is FeatureStore.read and data != whole:
        with pytest.raises(StoreError, match="2 of the photos are not in the feature store"):
            store.read(SPACE, PHOTOS)
    check(store, missing=PHOTOS[2:] if data != whole else [])
    if data != whole:
        write(store, 2, 4)
    check(store, missing=[])


def parquet(**columns: pa.Array) -> bytes:
    buffer = BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def vectors(width: int, value: float = 9) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.full(4 * width, value, np.float32)), width)


KEYS = pa.array([bytes.fromhex(photo) for photo in PHOTOS], pa.binary(32))
FOREIGN = {
    "nothing in it": b"",
    "no Parquet": b"PAR1 but no more",
    "no photos": parquet(h=vectors(2)),
    "photos of another type": parquet(photo=pa.array(PHOTOS), h=vectors(2)),
    "another width": parquet(photo=KEYS, h=vectors(5)),
    "a column too few": parquet(photo=KEYS, h=vectors(2)),
    "a column too many": parquet(photo=KEYS, h=vectors(2), label_index=vectors(3), extra=vectors(1)),
    "the same columns": parquet(photo=KEYS, h=vectors(2), label_index=vectors(3)),
    "no rows": parquet(photo=KEYS[:0], h=vectors(2)[:0]),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("name", ["shard-0.parquet", "shard-z.parquet"], ids=["listed first", "listed last"])
def test_a_foreign_file_never_gives_rows(store, kind, name):
    write(store, 0, 2)
    foreign = store.root / SPACE.folder / name
    foreign.write_bytes(FOREIGN[kind])
    check(store, missing=PHOTOS[2:])
    if kind != "no rows":
        assert not foreign.exists()
    write(store, 2, 4)
    check(store, missing=[])


def test_a_shard_brought_from_another_space_never_gives_rows(store):
    write(store, 0, 2)
    other = Space("toy", {"weights": "2"})
    store.write(other, PHOTOS[2:], {"h": -H[2:], "label_index": LABELS[2:]})
    (shard,) = (store.root / other.folder).glob("shard-*")
    shutil.copy(shard, store.root / SPACE.folder)
    check(store, missing=PHOTOS[2:])
    assert store.missing(other, PHOTOS[2:]) == []


@pytest.mark.parametrize(
    "columns",
    [
        {"h": H[2:]},
        {"h": H[2:, :1], "label_index": LABELS[2:]},
        {"h": H[2:].astype(np.float64), "label_index": LABELS[2:]},
    ],
    ids=["fewer columns", "another width", "another type"],
)
def test_columns_that_differ_within_a_space_are_refused(store, columns):
    write(store, 0, 2)
    store.write(SPACE, PHOTOS[2:], columns)
    with pytest.raises(StoreError, match=r"holds other columns than the shards beside it: remove .*toy-"):
        store.read(SPACE, PHOTOS)


@pytest.mark.parametrize("error", [MemoryError(), TypeError("another pyarrow")], ids=repr)
def test_a_whole_shard_is_never_set_aside(store, monkeypatch, error):
    shard = write(store, 0, 4)

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(pq, "ParquetFile", fail)
        with pytest.raises(type(error)):
            store.read(SPACE, PHOTOS)
    assert shard.exists()
    check(store, missing=[])


def test_a_shard_that_the_system_does_not_let_read_is_named(store, monkeypatch):
    shard = write(store, 0, 4)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(StoreError, match=rf"{shard.name} cannot be read: Permission denied"):
            store.missing(SPACE, PHOTOS)
    check(store, missing=[])


def test_damage_in_a_store_that_cannot_be_changed(store, monkeypatch):
    shard = write(store, 0, 4)
    shard.write_bytes(b"")

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refuse)
    assert store.missing(SPACE, PHOTOS) == PHOTOS


@pytest.mark.parametrize("moment", ["open", "read"])
def test_a_shard_that_another_process_removes_meanwhile_is_just_missing(store, monkeypatch, caplog, moment):
    write(store, 0, 4)
    monkeypatch.setattr(reader, "LITTLE", 0 if moment == "open" else 2**20)
    look = getattr(LocalShelf, moment)

    def gone(shelf: LocalShelf, folder: str, name: str) -> object:
        shelf.remove(folder, name)
        return look(shelf, folder, name)

    monkeypatch.setattr(LocalShelf, moment, gone)
    assert store.missing(SPACE, PHOTOS) == PHOTOS
    assert not caplog.records
