"""The most confused pair of classes, by hand, and the map of its features."""

import numpy as np
import pytest

from manyeyes.features.table import FeatureTable
from manyeyes.study.confusion import MOST_MAPPED, feature_map, mapped_photos, most_confused

from .conftest import by_hand

TRUTH = [0, 0, 0, 1, 1, 1, 2, 2]
NAMES = ["eye+softmax", "ear+softmax"]


@pytest.fixture
def pair():
    eye, ear = [0, 1, 1, 1, 0, 1, 2, 0], [0, 0, 1, 1, 0, 2, 2, 2]
    return most_confused(by_hand(TRUTH, {"eye": [eye], "ear": [ear]}, singles=["eye", "ear"]), NAMES)


def test_the_pair_with_most_mistakes_both_ways(pair):
    assert pair.classes == (0, 1)
    assert pair.said[0].tolist() == [[1, 2, 0], [2, 1, 0]]
    assert pair.said[1].tolist() == [[1, 2, 0], [1, 1, 1]]


def test_photos_that_most_backbones_mistake_come_first(pair):
    assert pair.photos[0].tolist() == [2, 1, 0]
    assert pair.photos[1].tolist() == [4, 3, 5]


def test_without_mistakes_there_is_no_pair():
    assert most_confused(by_hand(TRUTH, {"eye": [TRUTH], "ear": [TRUTH]}, singles=["eye", "ear"]), NAMES) is None


def test_the_map_parts_what_the_features_part():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    table = FeatureTable({"eye": (labels[:, None] * 20 + rng.normal(size=(40, 5))).astype("f4")})
    placed = feature_map(table, "eye", np.arange(40))
    assert placed.shape == (40, 2)
    centres = [placed[labels == index].mean(axis=0) for index in (0, 1)]
    nearer = np.linalg.norm(placed[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearer == labels).all()


def test_large_classes_are_drawn_by_lot():
    truth = [0] * (MOST_MAPPED + 50) + [1] * 10
    said = [1, *truth[1:]]
    outcomes = by_hand(truth, {"eye": [said], "ear": [truth]}, singles=["eye", "ear"])
    rows = mapped_photos(outcomes, most_confused(outcomes, NAMES))
    assert len(rows) == len(set(rows.tolist())) == MOST_MAPPED + 10
