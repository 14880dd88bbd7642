"""A store behind a URL keeps the same promises as one in a folder; small shards are gathered."""

import hashlib
import logging

import fsspec
import numpy as np
import pytest

from manyeyes.errors import LackingError, StoreError
from manyeyes.features import shard
from manyeyes.features import store as store_module
from manyeyes.features.shard import is_shard
from manyeyes.features.shelf import RemoteShelf
from manyeyes.features.space import Space
from manyeyes.features.store import FeatureStore

SPACE = Space("toy", {"weights": "1"})
PHOTOS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(200)]
H = np.arange(400, dtype=np.float32).reshape(200, 2)


def write(store: FeatureStore, *rows: int) -> None:
    store.write(SPACE, [PHOTOS[row] for row in rows], {"h": H[list(rows)]})


def check(store: FeatureStore, *rows: int) -> None:
    """These photos and no others are held, and their rows are true."""
    held = [PHOTOS[row] for row in rows]
    assert store.missing(SPACE, PHOTOS) == [photo for photo in PHOTOS if photo not in held]
    np.testing.assert_array_equal(store.read(SPACE, held)["h"], H[list(rows)])


@pytest.fixture(params=["", "file://", "fsspec+file://", "fsspec+memory://"])
def store(request, tmp_path):
    yield FeatureStore(f"{request.param}{tmp_path}/features")
    fsspec.filesystem("memory").store.clear()


def shards(store: FeatureStore) -> list[str]:
    return [name for name in store._shelf.files(SPACE.folder) if is_shard(name)]


def test_what_is_written_is_read(store):
    assert store.info() == []
    assert store.missing(SPACE, PHOTOS) == PHOTOS
    write(store, 0, 1, 2)
    write(store, 2, 3)
    check(FeatureStore(store.root), 3, 1, 0, 2)
    (info,) = store.info()
    assert (info.name, info.photos, info.bytes) == ("toy", 4, store.size(SPACE.folder))
    with pytest.raises(LackingError, match=r"^toy: 1 of the photos are not in the feature store at "):
        store.read(SPACE, PHOTOS[:5])


def test_a_damaged_shard_is_set_aside(store, caplog):
    write(store, 0, 1)
    (whole,) = shards(store)
    write(store, 2, 3)
    (name,) = set(shards(store)) - {whole}
    data = store._shelf.read(SPACE.folder, name)
    for damaged in (b"", data[: len(data) // 2], data.replace(H[2].tobytes(), H[9].tobytes())):
        store._shelf.put(SPACE.folder, name, damaged)
        with caplog.at_level(logging.WARNING):
            check(store, 0, 1)
        assert store._shelf.where(SPACE.folder, name) in caplog.text
        assert shards(store) == [whole]
    assert store.prune() > 0
    assert not [name for name in store._shelf.files(SPACE.folder) if name.endswith(".damaged")]


def test_an_unwanted_space_is_removed(store):
    write(store, 0)
    assert store.prune(lambda info: info.name == "toy") > 0
    assert store.info() == []


def test_what_a_shard_lists_is_believed_until_it_is_read(store, monkeypatch):
    monkeypatch.setattr(store_module, "LITTLE", 0)  # of little ones all is read
    write(store, 0, 1)
    (name,) = shards(store)
    data = store._shelf.read(SPACE.folder, name)
    store._shelf.put(SPACE.folder, name, data.replace(H[1].tobytes(), H[9].tobytes()))
    assert store.missing(SPACE, PHOTOS[:2], verify=False) == []
    with pytest.raises(LackingError):
        store.read(SPACE, PHOTOS[:2])
    assert store.missing(SPACE, PHOTOS[:2], verify=False) == PHOTOS[:2]


def test_a_little_shard_that_is_mended_counts_again_and_is_opened_once(store, monkeypatch):
    write(store, 0, 1)
    (name,) = shards(store)
    data = store._shelf.read(SPACE.folder, name)
    # Shows no photos at all, and no damage, to who reads what it lists alone.
    empty = shard.to_bytes(shard.to_arrow([], {"h": H[:0]}))
    store._shelf.put(SPACE.folder, name, empty)
    assert store.missing(SPACE, PHOTOS[:2], verify=False) == PHOTOS[:2]
    store._shelf.put(SPACE.folder, name, data)
    assert store.missing(SPACE, PHOTOS[:2], verify=False) == []
    monkeypatch.setattr(type(store._shelf), "read", None)
    assert FeatureStore(store.root).missing(SPACE, PHOTOS[:2], verify=False) == []


def test_many_small_shards_become_few_and_no_row_changes(store, monkeypatch):
    monkeypatch.setattr(store_module, "LARGE", 1000)
    for row in range(63):
        write(store, row)
    store.gather(SPACE.folder)
    assert len(shards(store)) == 63
    write(store, 63, 64)
    store.gather(SPACE.folder)
    assert 1 < len(shards(store)) < 10
    check(store, *range(65))
    store.prune()
    check(store, *range(65))


def test_gathering_that_is_cut_short_loses_nothing(store, monkeypatch):
    for row in range(10):
        write(store, row)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(store._shelf), "remove", killed)
        store.gather(SPACE.folder, 2)
    assert len(shards(store)) == 11
    check(store, *range(10))
    store.gather(SPACE.folder, 2)
    check(store, *range(10))


def test_gathering_leaves_damaged_and_foreign_shards_out(store):
    for row in range(5):
        write(store, row)
    name = shards(store)[2]
    row = H.tolist().index(store._rows(SPACE.folder, name)["h"].to_pylist()[0])
    store._shelf.put(SPACE.folder, name, b"damaged")
    store.gather(SPACE.folder, 2)
    assert len(shards(store)) == 1
    check(store, *(other for other in range(5) if other != row))


def test_gathering_on_a_full_disk_changes_nothing(store, monkeypatch):
    for row in range(5):
        write(store, row)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(store._shelf), "put", refuse)
    store.gather(SPACE.folder, 2)
    assert len(shards(store)) == 5
    check(store, *range(5))


def test_what_the_place_does_not_allow_is_named(tmp_path, monkeypatch):
    store = FeatureStore(f"fsspec+file://{tmp_path}/features")
    write(store, 0)

    def refuse(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(RemoteShelf, "read", refuse)
    with pytest.raises(StoreError, match=r"shard-\w+\.parquet cannot be read: Permission denied"):
        store.read(SPACE, PHOTOS[:1])
    monkeypatch.setattr(RemoteShelf, "put", refuse)
    with pytest.raises(StoreError, match=rf"features cannot be written to fsspec\+file://{tmp_path}/features/toy-.*"):
        write(store, 1)
