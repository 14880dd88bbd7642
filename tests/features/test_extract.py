"""Paths in, a feature table out: rows in their places, photos looked at once, and never under another's hash."""

import dataclasses
import hashlib
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.preprocess import frame
from manyeyes.errors import StoreError
from manyeyes.features import darkroom, pipeline, writer
from manyeyes.features import extract as extract_module
from manyeyes.features.darkroom import Darkroom
from manyeyes.features.extract import extract, fill_store
from manyeyes.features.space import THUMBNAILS, embedding_space
from manyeyes.features.store import FeatureStore
from manyeyes.features.table import FeatureTable
from manyeyes.images import Photo, Reason, open_photo, thumbnail

Make = Callable[[int], list[str]]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "CHUNK", 8)
    monkeypatch.setattr(pipeline, "MOST", 8)
    monkeypatch.setattr(Backbone, "batch", 3)
    monkeypatch.setattr(writer, "PHOTOS", 8)


def same(left: FeatureTable, right: FeatureTable) -> None:
    """Equal up to what a batch of another size changes in the last digits."""
    assert left.names == right.names
    assert left.source_labels.keys() == right.source_labels.keys()
    for name in left.names:
        np.testing.assert_allclose(left.blocks[name], right.blocks[name], atol=1e-5)
    for name, top in left.source_labels.items():
        np.testing.assert_allclose(top.probability, right.source_labels[name].probability, atol=1e-5)
    np.testing.assert_array_equal(left.thumbnails, right.thumbnails)


def sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_every_row_is_what_each_backbone_says_of_that_photo_alone(backbones, photos, store):
    paths = photos(19)
    extraction = extract(paths, backbones, store)
    assert extraction.computed == 19
    assert extraction.is_good.all() and extraction.rejected == ()
    table = extraction.table
    assert table.names == ("resnet", "byobnet")
    assert table.source_labels.keys() == {"resnet"}
    for row, path in enumerate(paths):
        photo = open_photo(path)
        assert isinstance(photo, Photo)
        np.testing.assert_array_equal(table.thumbnails[row], thumbnail(photo.image, 64))
        for backbone in backbones:
            name = backbone.card.name
            alone = backbone.embed(frame(photo.image, *backbone.card.preprocessing.framing)[None])
            np.testing.assert_allclose(table.blocks[name][row], alone.blocks[FINAL][0], atol=1e-5)
            # The tolerance would not notice a row in the wrong place if all photos were alike.
            if row:
                assert np.abs(table.blocks[name][row] - table.blocks[name][row - 1]).max() > 1e-3
            if name in table.source_labels:
                top = table.source_labels[name]
                np.testing.assert_allclose(top.probability[row], alone.label_probability[0], atol=1e-5)
                assert (top.index.dtype, top.index.shape) == (np.int16, (19, 10))


def test_any_order_of_the_paths_gives_the_same_rows(backbones, photos, tmp_path_factory):
    paths = photos(11)
    table = extract(paths, backbones, FeatureStore(tmp_path_factory.mktemp("whole"))).table

    @settings(max_examples=8, deadline=None)
    @given(st.lists(st.integers(0, 10), min_size=1, max_size=14))
    def check(order):
        store = FeatureStore(tmp_path_factory.mktemp("part"))
        found = extract([paths[row] for row in order], backbones, store)
        assert found.computed == len(set(order))
        same(found.table, table[order])

    check()


def test_the_same_photo_under_two_names_is_looked_at_once(backbones, photos, store):
    first, second = photos(2)
    copied = str(Path(first).with_name("copy.png"))
    shutil.copy(first, copied)
    extraction = extract([first, second, copied, first], backbones, store)
    assert extraction.computed == 2
    same(extraction.table, extraction.table[[0, 1, 0, 0]])


def test_bad_files_leave_the_others_in_their_places(backbones, photos, store, tmp_path):
    paths = photos(10)
    truth = extract(paths, backbones, FeatureStore(tmp_path / "elsewhere")).table
    broken, twin, empty = (tmp_path / name for name in ("broken.png", "twin.png", "empty.png"))
    broken.write_bytes(Path(paths[0]).read_bytes()[:-60])
    shutil.copy(broken, twin)
    empty.touch()
    bad = {0: str(broken), 3: str(tmp_path / "nowhere.png"), 4: str(empty), 9: str(twin), 14: str(tmp_path)}
    good = iter(paths)
    mixed = [bad[place] if place in bad else next(good) for place in range(15)]

    for computed in (10, 0):
        extraction = extract(mixed, backbones, store)
        assert extraction.computed == computed
        assert extraction.is_good.tolist() == [place not in bad for place in range(15)]
        assert [rejected.path for rejected in extraction.rejected] == list(bad.values())
        assert [rejected.reason for rejected in extraction.rejected] == [
            Reason.DAMAGED,
            Reason.MISSING,
            Reason.EMPTY,
            Reason.DAMAGED,
            Reason.NOT_A_FILE,
        ]
        same(extraction.table, truth)


@pytest.mark.parametrize("kind", ["none", "missing", "broken"])
def test_without_any_good_photo_the_table_is_empty(backbones, store, tmp_path, kind):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    paths = {"none": [], "missing": [str(tmp_path / "nowhere.png")], "broken": [str(broken)] * 2}[kind]
    extraction = extract(paths, backbones, store)
    assert extraction.computed == 0
    assert extraction.is_good.tolist() == [False] * len(paths)
    assert [rejected.path for rejected in extraction.rejected] == paths
    table = extraction.table
    assert {name: block.shape for name, block in table.blocks.items()} == {
        backbone.card.name: (0, backbone.card.dimension) for backbone in backbones
    }
    assert table.thumbnails.shape == (0, 64, 64, 3)
    assert not any(backbone.is_built for backbone in backbones)


@pytest.mark.parametrize("change", ["another photo", "no photo", "gone"])
def test_a_file_that_changes_after_hashing_is_rejected(backbones, photos, store, monkeypatch, change):
    paths = photos(4)
    victim, other = Path(paths[1]), Path(photos_of_another_kind(paths[0]))
    before, after = sha256(paths[1]), sha256(str(other))
    contents = {"another photo": other.read_bytes(), "no photo": b"words"}
    hash_ = Darkroom.hash

    def hash_then_change(room: Darkroom, path: str) -> object:
        found = hash_(room, path)
        if path == str(victim):
            victim.unlink()
            if change in contents:
                victim.write_bytes(contents[change])
        return found

    monkeypatch.setattr(Darkroom, "hash", hash_then_change)
    extraction = extract(paths, backbones, store)
    (rejected,) = extraction.rejected
    assert rejected.path == str(victim)
    assert rejected.reason == (Reason.MISSING if change == "gone" else Reason.UNREADABLE)
    assert extraction.is_good.tolist() == [True, False, True, True]
    assert len(extraction.table) == extraction.computed == 3
    for space in spaces(backbones):
        assert store.missing(space, [before, after]) == [before, after]


def photos_of_another_kind(path: str) -> str:
    turned = Path(path).with_name("turned.png")
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(turned)
    return str(turned)


def spaces(backbones: list[Backbone]) -> list:
    return [THUMBNAILS, *(embedding_space(backbone) for backbone in backbones)]


def fresh(backbone: Backbone, **changes: object) -> Backbone:
    """The backbone with its network not built, and other fields in its card or other weights."""
    copied = Backbone.__new__(Backbone)
    copied.__dict__ |= {name: value for name, value in vars(backbone).items() if name != "encoder"}
    copied.weights = changes.pop("weights", backbone.weights)
    copied.card = dataclasses.replace(backbone.card, **changes)
    return copied


def test_a_second_run_looks_at_nothing_and_builds_no_network(backbones, photos, store, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    paths = [*photos(9), str(broken)]
    first = extract(paths, backbones, store)
    again = [fresh(backbone) for backbone in backbones]
    second = extract(paths[::-1], again, store)
    assert (first.computed, second.computed) == (9, 0)
    assert not any(backbone.is_built for backbone in again)
    same(second.table, first.table[::-1])


def test_only_new_photos_are_looked_at(backbones, photos, store, monkeypatch):
    paths = photos(12)
    extract(paths[:7], backbones, store)
    looked_at = []
    decode = darkroom.decode
    monkeypatch.setattr(darkroom, "decode", lambda data, path, *most: looked_at.append(path) or decode(data, path))
    extraction = extract(paths, backbones, store)
    assert extraction.computed == 5
    # Once each, although two backbones look at them.
    assert sorted(looked_at) == paths[7:]


def test_a_new_backbone_is_the_only_one_that_looks(backbones, photos, store):
    old, new = backbones
    paths = photos(10)
    first = extract(paths, [old], store)
    files = sorted(store.root.rglob("*"))
    again = fresh(old)
    both = extract(paths, [again, new], store)
    assert both.computed == 10
    assert new.is_built and not again.is_built
    assert {path.parent.name for path in store.root.rglob("*") if path.is_file() and path not in files} == {
        embedding_space(new).folder
    }
    same(both.table.select(["resnet"]), first.table)


def test_other_preprocessing_is_another_space(backbones, photos, store):
    backbone = backbones[0]
    paths = photos(3)
    first = extract(paths, [backbone], store).table
    other = fresh(backbone, preprocessing=dataclasses.replace(backbone.card.preprocessing, channels="bgr"))
    second = extract(paths, [other], store)
    assert second.computed == 3
    assert np.abs(second.table.blocks["resnet"] - first.blocks["resnet"]).max() > 1e-3
    assert extract(paths, [backbone], store).computed == extract(paths, [other], store).computed == 0


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_the_photos_of_damaged_shards_are_looked_at_again(backbones, photos, store, damage):
    paths = photos(20)
    first = extract(paths, backbones, store)
    for folder in store.root.iterdir():
        shard = min(folder.glob("shard-*"), key=lambda path: path.stat().st_size)
        data = bytearray(shard.read_bytes())
        data[len(data) // 3] ^= 4
        shard.write_bytes({"truncated": data[:-9], "flipped": data, "empty": b""}[damage])
    second = extract(paths, backbones, store)
    assert 0 < second.computed <= 8
    same(second.table, first.table)
    assert extract(paths, backbones, store).computed == 0


def test_a_store_that_cannot_be_written(backbones, photos, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/features/\S+ cannot be read: Not a directory"):
        extract(photos(2), backbones, FeatureStore(tmp_path / "file" / "features"))


class Peak:
    """How many objects it was shown lived at the same time, at most."""

    def __init__(self) -> None:
        self.alive = self.most = 0

    def watch(self, thing: object) -> None:
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(thing, self.forget)

    def forget(self) -> None:
        self.alive -= 1


def test_memory_does_not_grow_with_the_number_of_photos(backbones, photos, tmp_path, monkeypatch):
    images, framed = Peak(), Peak()
    decode, look = darkroom.decode, pipeline._frame

    def watched_decode(data: bytes, path: str, most: int) -> object:
        image = decode(data, path, most)
        images.watch(image)
        return image

    def watched_look(*photo: object) -> object:
        frames = look(*photo)
        framed.watch(frames)
        return frames

    monkeypatch.setattr(darkroom, "decode", watched_decode)
    monkeypatch.setattr(pipeline, "_frame", watched_look)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    paths = photos(96)
    for count in (24, 96):
        assert extract(paths[:count], backbones, FeatureStore(tmp_path / str(count))).computed == count
        # Two threads decode; one chunk is written, one looked at and one made.
        assert images.most <= 2
        assert framed.most <= 3 * pipeline.CHUNK
    assert framed.alive == images.alive == 0


def test_filling_reads_nothing_back_and_a_part_at_a_time_is_the_same(backbones, photos, store, tmp_path, monkeypatch):
    paths = [*photos(19), "nowhere.jpg"]
    whole = extract(paths, backbones, FeatureStore(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(extract_module, "PART", 8)
        patch.setattr(FeatureStore, "read", None)
        filling = fill_store(paths, backbones, store)
    assert (filling.photos, filling.rejected, filling.computed) == (whole.photos, whole.rejected, 19)
    assert [outcome for outcome in filling.outcomes if outcome in filling.photos] == list(whole.photos)
    again = extract(paths, backbones, store)
    assert again.computed == 0
    np.testing.assert_array_equal(again.is_good, [*[True] * 19, False])
    same(again.table, whole.table)


def test_rows_that_turn_out_to_be_damaged_are_looked_at_again(backbones, photos, store):
    paths = photos(19)
    whole = extract(paths, backbones, store)
    for space in (embedding_space(backbones[0]), embedding_space(backbones[1])):
        shard = max((store.root / space.folder).glob("shard-*"))
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1  # not where the photos are listed, so that only reading shows it
        shard.write_bytes(data)
    again = extract(paths, backbones, store)
    assert 0 < again.computed <= 16
    same(again.table, whole.table)
    assert extract(paths, backbones, store).computed == 0
