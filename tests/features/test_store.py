"""What is written is what is read, row for row."""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from manyeyes.errors import StoreError
from manyeyes.features.shelf import ABANDONED_AFTER_SECONDS, LocalShelf
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


@pytest.mark.parametrize("record", [None, b"", b"[]", b'{"name": "toy"}', b'{"name": "toy", "weights": "2"}'])
def test_a_folder_that_its_record_does_not_name_is_no_space_until_it_is_written_to(store, record):
    store.write(SPACE, shas("a"), rows(1))
    file = store.root / SPACE.folder / "space.json"
    file.unlink()
    if record is not None:
        file.write_bytes(record)
    assert store.info() == []
    assert store.prune(lambda space: True) == 0
    assert store.missing(SPACE, shas("a")) == []
    FeatureStore(store.root).write(SPACE, shas("b"), rows(2))
    assert [(info.name, info.photos) for info in store.info()] == [("toy", 2)]


def test_spaces_of_an_older_format_can_be_pruned(store):
    older = Space(SPACE.name, SPACE.content, format=1)
    for space in (SPACE, older):
        store.write(space, shas("a"), rows(1))
    assert store.prune(lambda space: space == older) > 0
    assert store.spaces() == [SPACE]


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

    size = store.size(SPACE.folder)
    assert store.prune(lambda space: space == SPACE) == size > 0
    assert not folder.exists()
    assert store.missing(OTHER, shas("a")) == []


def test_prune_keeps_away_from_what_is_no_space(store):
    for name in ("notes", "my-photos", "toy-0123456789abcdeg"):
        (store.root / name).mkdir(parents=True)
        (store.root / name / ".writing-old").touch()
        os.utime(store.root / name / ".writing-old", (0, 0))
    (store.root / "file-0123456789abcdef").touch()
    assert store.info() == []
    assert store.prune(lambda space: True) == 0
    assert len(list(store.root.rglob("*"))) == 7


def test_prune_keeps_files_that_are_not_the_stores_own(store):
    store.write(SPACE, shas("a"), rows(1))
    folder = store.root / SPACE.folder
    mine = [folder / name for name in ("notes.txt", "photo.damaged", "table.parquet", "in/shard-1.parquet")]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("years of work")
    store.prune()
    store.prune(lambda space: True)
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted(mine)
    assert store.info() == []


def test_pruning_one_space_opens_no_shard_of_another(store, monkeypatch):
    for space in (SPACE, OTHER):
        store.write(space, shas("a"), rows(1))
    opened = []
    for way in ("open", "read"):
        look = getattr(LocalShelf, way)
        monkeypatch.setattr(LocalShelf, way, lambda *given, look=look: opened.append(given[2]) or look(*given))
    store.prune(lambda space: space == SPACE)
    assert opened == ["space.json"] * 2
    assert store.spaces() == [OTHER]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's rights, if these are ours."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_what_cannot_be_removed_is_named():
    with tempfile.TemporaryDirectory(dir="/tmp") as open_to_all:
        store = FeatureStore(Path(open_to_all) / "features")
        store.write(SPACE, shas("a"), rows(1))
        Path(open_to_all).chmod(0o755)
        folder = store.root / SPACE.folder
        folder.chmod(0o555)
        with (
            as_nobody(),
            pytest.raises(StoreError, match=rf"^{folder}/shard-\w+.parquet cannot be removed: Permission"),
        ):
            store.prune(lambda space: True)
        folder.chmod(0o755)
        assert store.missing(SPACE, shas("a")) == []


def asked(store: FeatureStore) -> list[Callable[[], object]]:
    """All ways to ask what a store holds."""
    photos = shas("a")
    return [
        store.info,
        store.prune,
        lambda: store.size(SPACE.folder),
        lambda: store.missing(SPACE, photos, verify=False),
        lambda: store.missing(SPACE, photos),
        lambda: store.held(SPACE),
        lambda: store.read(SPACE, photos),
    ]


def test_a_folder_that_cannot_be_looked_into(store):
    store.write(SPACE, shas("a"), rows(1))
    store.root.chmod(0)
    for ask in asked(store):
        with as_nobody(), pytest.raises(StoreError, match=rf"^{store.root}.* cannot be read: Permission denied$"):
            ask()


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_file_where_the_folder_should_be(tmp_path, scheme):
    (tmp_path / "features").write_text("not a folder")
    store = FeatureStore(f"{scheme}{tmp_path}/features")
    for ask in asked(store):
        with pytest.raises(StoreError, match=rf"{tmp_path}/features.* cannot be read: "):
            ask()
    with pytest.raises(StoreError, match=r"features cannot be written to .*; all finished work is kept"):
        store.write(SPACE, shas("a"), rows(1))
    assert (tmp_path / "features").read_text() == "not a folder"
