"""What is written is what is read, row for row."""

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from manyeyes.errors import StoreError
from manyeyes.features.shelf import ABANDONED_AFTER_SECONDS
from manyeyes.features.space import Space
from manyeyes.features.store import FeatureStore

SPACE = Space("toy", {"weights": "1"})
OTHER = Space("toy", {"weights": "2"})


def shas(*names: object) -> list[str]:
    return [hashlib.sha256(str(name).encode()).hexdigest() for name in names]


def rows(*values: float) -> dict[str, np.ndarray]:
    """One column: ``[value, -value]`` a row."""
    return {"h": np.array([[value, -value] for value in values], np.float32)}


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features")


COUNTS = st.shared(st.integers(1, 6), key="rows")
WIDTHS = st.lists(st.integers(1, 4), max_size=3)


def columns(dtype: type) -> st.SearchStrategy[np.ndarray]:
    shapes = st.builds(lambda count, widths: (count, *widths), COUNTS, WIDTHS)
    return shapes.flatmap(lambda shape: arrays.arrays(dtype, shape))


@settings(deadline=None)
@given(
    values=st.fixed_dictionaries(
        {"h": columns(np.float32), "label_index": columns(np.int16), "pixels": columns(np.uint8)}
    ),
    data=st.data(),
)
def test_what_is_written_is_read(tmp_path_factory, values, data):
    store = FeatureStore(tmp_path_factory.mktemp("features"))
    photos = shas(*range(len(values["h"])))
    store.write(SPACE, photos, values)
    asked = data.draw(st.lists(st.integers(0, len(photos) - 1), min_size=1))
    found = FeatureStore(store.root).read(SPACE, [photos[row] for row in asked])
    assert found.keys() == values.keys()
    for name, column in values.items():
        assert found[name].dtype == column.dtype
        np.testing.assert_array_equal(found[name], column[asked])


def test_rows_come_in_the_order_asked_for_across_shards_and_as_often(store):
    photos = shas(*range(7))
    for start in (0, 3, 6):
        part = range(start, min(start + 3, 7))
        store.write(SPACE, [photos[i] for i in part], rows(*part))
    asked = [6, 0, 5, 5, 2, 0, 6, 1]
    np.testing.assert_array_equal(store.read(SPACE, [photos[i] for i in asked])["h"], rows(*asked)["h"])


def test_a_photo_may_lie_in_two_shards(store):
    a, b, c = shas("a", "b", "c")
    store.write(SPACE, [a, b], rows(1, 2))
    store.write(SPACE, [b, c], rows(2, 3))
    np.testing.assert_array_equal(store.read(SPACE, [c, b, a])["h"], rows(3, 2, 1)["h"])
    assert [space.photos for space in store.info()] == [3]


def test_the_same_shard_twice_takes_no_more_room(store):
    for _ in range(2):
        store.write(SPACE, shas("a"), rows(1))
    assert len(list(store.root.glob("*/shard-*"))) == 1


def test_a_photo_that_is_not_there(store):
    a, b = shas("a", "b")
    store.write(SPACE, [a], rows(1))
    with pytest.raises(StoreError, match=r"^toy: 1 of the photos are not in the feature store at .*$"):
        store.read(SPACE, [a, b, b])
    with pytest.raises(StoreError):
        store.read(OTHER, [a])


def test_missing_gives_each_photo_once_in_order(store):
    a, b, c, d = shas(*"abcd")
    assert store.missing(SPACE, [d, a, d]) == [d, a]
    store.write(SPACE, [a, b], rows(1, 2))
    assert store.missing(SPACE, [d, a, c, b, d, c]) == [d, c]
    assert store.missing(OTHER, [b, a]) == [b, a]
    assert store.missing(SPACE, []) == []


def test_the_usual_place_is_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path))
    FeatureStore().write(SPACE, shas("a"), rows(1))
    assert list((tmp_path / "features" / SPACE.folder).glob("shard-*.parquet"))


def test_info_counts_photos_and_bytes(store):
    assert store.info() == []
    store.write(SPACE, shas("a", "b"), rows(1, 2))
    store.write(SPACE, shas("c"), rows(3))
    store.write(Space("some.tap-2", {}), shas("a"), rows(1))
    infos = {info.name: info for info in store.info()}
    assert {name: info.photos for name, info in infos.items()} == {"toy": 3, "some.tap-2": 1}
    for info in infos.values():
        assert info.bytes == sum(path.stat().st_size for path in (store.root / info.folder).iterdir()) > 0


@pytest.mark.parametrize("is_empty", [True, False])
def test_info_and_prune_need_no_record(store, is_empty):
    store.write(SPACE, shas("a"), rows(1))
    record = store.root / SPACE.folder / "space.json"
    record.unlink()
    if is_empty:
        record.touch()
    assert [(info.name, info.photos) for info in store.info()] == [("toy", 1)]
    assert store.prune() == 0


def test_prune_removes_only_what_is_abandoned_damaged_or_unwanted(store):
    store.write(SPACE, shas("a"), rows(1))
    store.write(OTHER, shas("a"), rows(1))
    folder = store.root / SPACE.folder
    abandoned, writing, damaged = folder / ".writing-old", folder / ".writing-new", folder / "shard-x.damaged"
    for number, path in enumerate([abandoned, writing, damaged], start=1):
        path.write_bytes(bytes(number))
    old = time.time() - ABANDONED_AFTER_SECONDS - 60
    os.utime(abandoned, (old, old))

    assert store.prune() == 1 + 3
    assert writing.exists() and not abandoned.exists() and not damaged.exists()
    assert store.missing(SPACE, shas("a")) == store.missing(OTHER, shas("a")) == []

    unwanted = next(info for info in store.info() if info.folder == folder.name)
    assert store.prune(lambda info: info == unwanted) == unwanted.bytes
    assert not folder.exists()
    assert store.missing(OTHER, shas("a")) == []


def test_prune_keeps_away_from_what_is_no_space(store):
    for name in ("notes", "my-photos", "toy-0123456789abcdeg"):
        (store.root / name).mkdir(parents=True)
        (store.root / name / ".writing-old").touch()
        os.utime(store.root / name / ".writing-old", (0, 0))
    (store.root / "file-0123456789abcdef").touch()
    assert store.info() == []
    assert store.prune(lambda info: True) == 0
    assert len(list(store.root.rglob("*"))) == 7


def test_what_cannot_be_removed_is_named(store, monkeypatch):
    store.write(SPACE, shas("a"), rows(1))

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(StoreError, match=rf"{SPACE.folder} cannot be removed: Permission denied"):
        store.prune(lambda info: True)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = FeatureStore(tmp_path / "file" / "features")
    assert store.info() == []
    assert store.missing(SPACE, shas("a")) == shas("a")
    with pytest.raises(StoreError, match=r"features cannot be written to .*Not a directory; all finished work is kept"):
        store.write(SPACE, shas("a"), rows(1))
