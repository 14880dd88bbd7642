from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from manyeyes.experts.distance_ridge import TUNING_ROWS, DistanceRidge, Distances, Problem, choose_landmarks
from manyeyes.experts.kernels import squared_distances

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)


def cloud(y: Array, apart: float, columns: int = 5) -> Array:
    return (RNG.normal(size=(len(y), columns)) + apart * np.eye(columns)[y]).astype(np.float32)


def problem(y: Array, groups: Array | None = None) -> Problem:
    return Problem.of(np.unique(y), y, None, groups)


def test_a_tap_that_knows_nothing_gets_no_weight() -> None:
    y = np.arange(80) % 2
    telling, noise = (squared_distances(rows, rows) for rows in (cloud(y, 1.5), cloud(y, 0)))
    every = np.arange(80)
    one = DistanceRidge().fit(Distances([telling, noise], None, every), problem(y))
    other = DistanceRidge().fit(Distances([noise, telling], None, every), problem(y))
    assert one.tap_shares_[1] < 0.25 < 0.6 < other.tap_shares_[1]
    assert DistanceRidge().fit(Distances([telling], None, every), problem(y)).tap_shares_.tolist() == [1.0]


def test_distances_that_know_the_labels_are_seen_through() -> None:
    """Distances learnt from labels look perfect between the rows they were learnt from; as new rows see them, not."""
    y = np.arange(60) % 2
    learnt = np.where(y[:, None] == y, 0.1, 2.0).astype(np.float32)
    real = squared_distances(*(cloud(y, 0),) * 2)
    fooled = DistanceRidge().fit(Distances([learnt], None, np.arange(60)), problem(y))
    honest = DistanceRidge().fit(Distances([learnt], [real], np.arange(60)), problem(y))
    assert fooled.loss_ < 0.1 < 0.6 < honest.loss_
    assert np.exp(honest.out_of_fold_).max() < 0.9


def test_with_few_landmarks_those_are_not_asked_what_they_know_of_themselves() -> None:
    y = np.arange(90) % 3
    rows = cloud(y, 2)
    chosen = choose_landmarks(90, 30, 0)
    near = squared_distances(rows, rows[chosen])
    model = DistanceRidge().fit(Distances([near], [near[chosen]], chosen), problem(y))
    assert np.isnan(model.out_of_fold_[chosen]).all()
    others = np.setdiff1d(np.arange(90), chosen)
    assert (model.out_of_fold_[others].argmax(axis=1) == y[others]).mean() > 0.6
    assert (model.log_proba([near]).argmax(axis=1) == y).mean() > 0.7


@pytest.mark.parametrize("group_size", [1, 2])
def test_many_rows_are_tuned_on_some_of_them(group_size: int) -> None:
    y = np.arange(TUNING_ROWS + 200) % 4
    rows = cloud(y, 2)
    near = squared_distances(rows, rows)
    groups = np.arange(len(y)) // group_size if group_size > 1 else None
    model = DistanceRidge().fit(Distances([near], None, np.arange(len(y))), problem(y, groups))
    assert model.coef_.shape == (len(y), 4)
    assert abs(model.loss_ - -model.out_of_fold_[np.arange(len(y)), y].mean()) < 0.05
