import warnings

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from manyeyes.experts.folds import TUNING_ROWS, folds, judged, spread_to_all_classes, tuning_folds

classes = st.lists(st.integers(0, 5), min_size=1, max_size=40).map(
    lambda drawn: np.unique(drawn, return_inverse=True)[1].astype(np.int64)
)


@given(classes, st.integers(2, 7), st.integers(0, 3))
def test_held_out_parts_share_out_all_rows(y: npt.NDArray[np.int64], count: int, seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splits = list(folds(y, count, seed))
    largest = np.bincount(y).max()
    assert len(splits) == (min(count, largest) if largest > 1 else 0)
    for train, held in splits:
        assert len(train) and len(held)
        assert np.array_equal(np.sort(np.concatenate([train, held])), np.arange(len(y)))
    if splits:
        assert np.array_equal(np.sort(np.concatenate([held for _, held in splits])), np.arange(len(y)))
        for label in range(y.max() + 1):
            shares = [(y[held] == label).sum() for _, held in splits]
            assert max(shares) - min(shares) <= 1


@given(classes, st.integers(2, 5), st.integers(1, 4))
def test_a_group_is_never_on_both_sides(y: npt.NDArray[np.int64], count: int, size: int) -> None:
    groups = np.array([f"film {row // size}" for row in range(len(y))])
    splits = list(folds(y, count, 0, groups))
    for train, held in splits:
        assert len(train) and len(held)
        assert not set(groups[train]) & set(groups[held])
    if splits:
        assert np.array_equal(np.sort(np.concatenate([held for _, held in splits])), np.arange(len(y)))


def test_groups_want_an_entry_for_each_row() -> None:
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        list(folds(np.repeat([0, 1], 10), 2, 0, np.arange(3)))


def test_the_seed_decides() -> None:
    y = np.repeat([0, 1], 10)
    held = [[part.tolist() for _, part in folds(y, 3, seed)] for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]


@given(st.sets(st.integers(0, 7), min_size=1), st.integers(0, 9))
def test_opinions_on_some_classes_become_opinions_on_all(present: set[int], seed: int) -> None:
    known = np.array(sorted(present))
    log_proba = log_softmax(np.random.default_rng(seed).normal(size=(5, len(known))), axis=1)
    spread = spread_to_all_classes(log_proba, known, 8)
    assert spread.shape == (5, 8)
    np.testing.assert_allclose(np.exp(spread).sum(axis=1), 1)
    np.testing.assert_allclose(np.exp(spread[:, known]), np.exp(log_proba), atol=1e-5)
    np.testing.assert_allclose(np.exp(np.delete(spread, known, axis=1)), 1e-6)


def test_opinions_on_all_classes_stay_as_they_are() -> None:
    log_proba = np.log(np.array([[0.2, 0.8], [1e-9, 1 - 1e-9]]))
    assert np.array_equal(spread_to_all_classes(log_proba, np.array([0, 1]), 2), log_proba)


def test_where_no_class_has_two_photos_nothing_is_held_out() -> None:
    assert list(folds(np.arange(5), 3, 0)) == []


@pytest.mark.parametrize("count", [2, 5])
def test_a_class_of_one_photo_is_held_out_once(count: int) -> None:
    y = np.array([0] * 9 + [1])
    assert sum(9 in held for _, held in folds(y, count, 0)) == 1


def test_the_only_photo_of_a_class_cannot_be_judged() -> None:
    labels = np.array([0, 0, 1, 2, 2, 2])
    assert judged(labels).tolist() == [1, 1, 0, 1, 1, 1]
    assert judged(labels, np.array(["a", "a", "b", "c", "d", "c"])).tolist() == [0, 0, 0, 1, 1, 1]
    assert judged(np.arange(3)).tolist() == [1, 1, 1]


@pytest.mark.parametrize(("held", "enough"), [(TUNING_ROWS, 1), (TUNING_ROWS - 1, 2), (TUNING_ROWS // 2, 2), (10, 5)])
def test_as_many_folds_as_hold_out_enough_rows_are_enough_to_choose_by(held: int, enough: int) -> None:
    splits = [(np.arange(0), fold * held + np.arange(held)) for fold in range(5)]
    assert tuning_folds(splits, np.ones(5 * held)) == enough


def test_rows_that_do_not_judge_are_not_counted() -> None:
    splits = [(np.arange(0), fold * TUNING_ROWS + np.arange(TUNING_ROWS)) for fold in range(3)]
    judges = np.repeat([0.0, 2.0, 1.0], TUNING_ROWS)
    assert tuning_folds(splits, judges) == 2
    assert tuning_folds(splits, np.zeros(3 * TUNING_ROWS)) == 3
    assert tuning_folds([], judges) == 0
