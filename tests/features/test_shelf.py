"""A store behind a URL keeps the same promises as one in a folder; small shards are gathered."""

import hashlib
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import far  # noqa: F401 -- makes fsspec+far:// known
import fsspec
import numpy as np
import pytest
from child import Child
from pyarrow.fs import AzureFileSystem, GcsFileSystem, S3FileSystem

from manyeyes.errors import LackingError, StoreError
from manyeyes.features import reader, shard
from manyeyes.features import store as store_module
from manyeyes.features.shard import is_shard
from manyeyes.features.shelf import ABANDONED_AFTER_SECONDS, OBJECT_STORES, LocalShelf, RemoteShelf, open_shelf
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


@pytest.fixture(params=["", "file://", "fsspec+file://", "fsspec+memory://", "fsspec+far://"])
def store(request, tmp_path, online):
    yield FeatureStore(f"{request.param}{tmp_path}/features")
    fsspec.filesystem("memory").store.clear()


def shards(store: FeatureStore) -> list[str]:
    return [name for name in store._shelf.files(SPACE.folder) if is_shard(name)]


def test_a_folder_of_this_machine_may_be_named_by_a_url(tmp_path):
    for root in (tmp_path, f"file://{tmp_path}", f"FILE://{tmp_path}"):
        assert isinstance(open_shelf(root), LocalShelf)


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
    monkeypatch.setattr(reader, "LITTLE", 0)  # of little ones all is read
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


@pytest.mark.parametrize(
    "ask", [FeatureStore.read, FeatureStore.missing, FeatureStore.held], ids=lambda ask: ask.__name__
)
@pytest.mark.parametrize("moment", ["files", "open", "read"])
# Not in fsspec's memory, where two who read a file share their place in it.
@pytest.mark.parametrize("store", ["", "fsspec+file://", "fsspec+far://"], indirect=True)
def test_what_is_gathered_between_listing_and_reading_is_found(store, monkeypatch, moment, ask):
    monkeypatch.setattr(reader, "LITTLE", 0)
    for row in range(40):
        write(store, row)
    look, moments = getattr(type(store._shelf), moment), iter([None])

    def and_then_gather(*given: object) -> object:
        found = look(*given)
        if next(moments, True) is None:
            with ThreadPoolExecutor(1) as other:
                other.submit(FeatureStore(store.root).gather, SPACE.folder, 2).result()
        return found

    monkeypatch.setattr(type(store._shelf), moment, and_then_gather)
    found = ask(store, SPACE) if ask is FeatureStore.held else ask(store, SPACE, PHOTOS[:40])
    if ask is FeatureStore.read:
        np.testing.assert_array_equal(found["h"], H[:40])
    elif ask is FeatureStore.held:
        assert shard.to_photos(found) == sorted(PHOTOS[:40])
    else:
        assert found == []
    if moment == "files" or ask is not FeatureStore.held:
        assert len(shards(store)) == 1


def keep_gathering(root: str, answer: Connection) -> None:
    store = FeatureStore(root)
    answer.send("begun")
    while not answer.poll():
        for row in range(100, 110):
            write(store, row)
        store.gather(SPACE.folder, 2)


def test_nothing_is_lacking_while_another_process_writes_and_gathers(tmp_path):
    store = FeatureStore(tmp_path)
    for row in range(30):
        write(store, row)
    child = Child(keep_gathering, str(tmp_path))
    assert child.pipe.recv() == "begun"
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        assert store.missing(SPACE, PHOTOS[:30]) == []
        np.testing.assert_array_equal(store.read(SPACE, PHOTOS[:30])["h"], H[:30])
    child.pipe.send("enough")
    assert child.end() == 0


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
    row = H.tolist().index(shard.read_rows(store._shelf.read(SPACE.folder, name))["h"].to_pylist()[0])
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


def write_half(root: str, number: int, answer: Connection) -> None:
    """Stays in the middle of the file of that number, and answers when it is there."""
    put, numbers = RemoteShelf._write, iter(range(1, 10))

    def stay(shelf: RemoteShelf, folder: str, name: str, data: bytes) -> None:
        if next(numbers) < number:
            return put(shelf, folder, name, data)
        put(shelf, folder, name, data[: len(data) // 2])
        answer.send("here")
        answer.recv()

    RemoteShelf._write = stay
    write(FeatureStore(root), 0)


@pytest.mark.parametrize("number", [1, 2], ids=["the record", "a shard"])
def test_a_writer_that_is_killed_leaves_nothing_half_under_a_whole_name(tmp_path, number):
    root = f"fsspec+file://{tmp_path}"
    child = Child(write_half, root, number)
    assert child.pipe.recv() == "here"
    child.kill()
    store = FeatureStore(root)
    (left,) = tmp_path.rglob(".writing-*")
    assert len(list(left.parent.iterdir())) == number
    write(store, 1)
    check(store, 1)
    assert store.spaces() == [SPACE]

    assert store.prune() == 0
    os.utime(left, (time.time() - 2 * ABANDONED_AFTER_SECONDS,) * 2)
    size = left.stat().st_size
    assert store.prune() == size > 0
    assert not left.exists()
    check(store, 1)


def test_what_cannot_be_moved_to_its_name_is_removed(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(RemoteShelf, "_move", refuse)
    with pytest.raises(StoreError, match="Input/output error"):
        write(FeatureStore(f"fsspec+file://{tmp_path}"), 0)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_object_stores_are_known_by_the_names_that_pyarrow_gives_them():
    opened = (
        S3FileSystem(region="eu-central-1", anonymous=True),
        GcsFileSystem(anonymous=True),
        AzureFileSystem("account"),
    )
    assert tuple(filesystem.type_name for filesystem in opened) == OBJECT_STORES


def test_an_object_is_written_under_its_name(tmp_path, monkeypatch):
    store = FeatureStore(f"fsspec+memory://{tmp_path}")
    monkeypatch.setattr("manyeyes.features.shelf.OBJECT_STORES", (store._shelf._filesystem.type_name,))
    monkeypatch.setattr(RemoteShelf, "_move", None)
    write(store, 0)
    check(store, 0)
