"""Several taps of a backbone: one pass, a block and a space for each, and nothing stored twice."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.nets import SECOND_ORDER, Precision
from manyeyes.backbones.preprocess import frame
from manyeyes.backbones.second_order import DIMENSION, tap
from manyeyes.features import pipeline, writer
from manyeyes.features.extract import extract
from manyeyes.features.space import embedding_space
from manyeyes.features.store import FeatureStore
from manyeyes.images import Photo, open_photo

Make = Callable[[int], list[str]]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "CHUNK", 8)
    monkeypatch.setattr(Backbone, "batch", 3)
    monkeypatch.setattr(writer, "PHOTOS", 8)
    monkeypatch.setattr(tap, "PHOTOS", 4)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features")


def tapped(
    backbones: list[Backbone], taps: tuple[str, ...] = (FINAL, SECOND_ORDER), precision: Precision = "fp32"
) -> list[Backbone]:
    """The same backbones, read there."""
    changed = [copy.copy(backbone) for backbone in backbones]
    for backbone in changed:
        vars(backbone).pop("encoder", None)
        backbone.taps, backbone.precision = taps, precision
    return changed


def files(store: FeatureStore, backbone: Backbone, name: str) -> list[Path]:
    return sorted((store.root / embedding_space(backbone, name).folder).rglob("*"))


def test_every_tap_is_a_block_with_the_rows_of_its_photos(
    backbones: list[Backbone], photos: Make, store: FeatureStore
) -> None:
    paths = photos(10)
    backbones = tapped(backbones)
    found = extract(paths, backbones, store)
    assert found.computed == 10
    assert found.table.names == ("resnet", "resnet/second-order", "byobnet", "byobnet/second-order")
    assert found.table.source_labels.keys() == {"resnet"}
    for row, path in enumerate(paths):
        photo = open_photo(path)
        assert isinstance(photo, Photo)
        for backbone in backbones:
            alone = backbone.embed(frame(photo.image, *backbone.card.preprocessing.framing)[None])
            name = backbone.card.name
            np.testing.assert_allclose(found.table.blocks[name][row], alone.blocks[FINAL][0], atol=1e-5)
            second = found.table.blocks[f"{name}/second-order"][row]
            assert second.shape == (DIMENSION,)
            # Roots of very small numbers are large beside them, and so is what another batch rounds otherwise.
            np.testing.assert_allclose(second, alone.blocks[SECOND_ORDER][0], atol=5e-3)
            if row:
                assert np.abs(second - found.table.blocks[f"{name}/second-order"][row - 1]).max() > 0.02


def test_a_new_tap_leaves_the_features_that_are_stored(
    backbones: list[Backbone], photos: Make, store: FeatureStore
) -> None:
    paths = photos(9)
    first = extract(paths, tapped(backbones, (FINAL,)), store).table
    stored = [files(store, backbone, FINAL) for backbone in backbones]
    both = extract(paths, tapped(backbones), store)
    assert both.computed == 9
    assert [files(store, backbone, FINAL) for backbone in backbones] == stored
    for name in first.names:
        np.testing.assert_array_equal(both.table.blocks[name], first.blocks[name])


def test_what_is_stored_of_a_tap_needs_no_network(backbones: list[Backbone], photos: Make, store: FeatureStore) -> None:
    paths = photos(9)
    both = extract(paths, tapped(backbones), store)
    for taps in ((FINAL,), (SECOND_ORDER,), (FINAL, SECOND_ORDER)):
        again = tapped(backbones, taps)
        found = extract(paths[::-1], again, store)
        assert found.computed == 0
        assert not any("encoder" in vars(backbone) for backbone in again)
        for name in found.table.names:
            np.testing.assert_array_equal(found.table.blocks[name], both.table.blocks[name][::-1])


def test_photos_that_only_one_tap_lacks(backbones: list[Backbone], photos: Make, store: FeatureStore) -> None:
    """One tap lacks some photos and the other some others: each gets its own, in their places."""
    paths = photos(11)
    extract(paths[:6], tapped(backbones, (FINAL,)), store)
    extract(paths[4:8], tapped(backbones, (SECOND_ORDER,)), store)
    found = extract(paths, tapped(backbones), store)
    assert found.computed == 9  # all but the two that both know
    fresh = extract(paths, tapped(backbones), FeatureStore(store.root / "elsewhere")).table
    for name in fresh.names:
        np.testing.assert_allclose(found.table.blocks[name], fresh.blocks[name], atol=5e-3)


def test_without_photos_every_tap_has_an_empty_block(backbones: list[Backbone], store: FeatureStore) -> None:
    table = extract([], tapped(backbones), store).table
    assert [block.shape for block in table.blocks.values()] == [
        (0, width) for backbone in backbones for width in (backbone.card.dimension, DIMENSION)
    ]


def test_another_precision_is_another_space_and_close(
    backbones: list[Backbone], photos: Make, store: FeatureStore
) -> None:
    paths = photos(6)
    full = extract(paths, tapped(backbones), store)
    half = extract(paths, tapped(backbones, precision="bf16"), store)
    assert (full.computed, half.computed) == (6, 6)
    assert extract(paths, tapped(backbones), store).computed == 0
    for name, block in full.table.blocks.items():
        other = half.table.blocks[name]
        assert other.dtype == np.float32
        gap = np.linalg.norm(other - block, axis=1) / np.linalg.norm(block, axis=1)
        assert 0 < gap.max() < 0.15
