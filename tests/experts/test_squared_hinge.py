from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.svm import LinearSVC

from manyeyes.experts import squared_hinge
from manyeyes.experts.row_space import RowSpace
from manyeyes.experts.squared_hinge import fit_squared_hinge

Array = npt.NDArray[Any]
Clouds = Callable[..., tuple[Array, Array]]
SHAPES = [(120, 8), (40, 90)]


def losses(rows: Array, labels: Array, costs: Array, coef: Array, intercept: Array) -> Array:
    """Of each class, as the module's header has it."""
    signs = np.where(labels == np.arange(len(coef))[:, None], 1, -1)
    short = np.maximum(1 - signs * (coef @ rows.T + intercept[:, None]), 0)
    total: Array = ((coef**2).sum(axis=1) + intercept**2) / 2 + short**2 @ costs
    return total


def by_scikit_learn(rows: Array, labels: Array, classes: int, costs: Array) -> Array:
    """LinearSVC class by class, with each row's own cost."""
    found = [
        LinearSVC(C=1.0, tol=1e-10, max_iter=500_000).fit(rows, labels == label, sample_weight=costs)
        for label in range(classes)
    ]
    coef = np.concatenate([one.coef_ for one in found])
    return losses(rows, labels, costs, coef, np.concatenate([one.intercept_ for one in found]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("cost", [1e-3, 0.1, 10.0])
def test_it_is_the_minimum_that_linear_svc_finds(
    clouds: Clouds, shape: tuple[int, int], classes: int, cost: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, labels = clouds(*shape, classes, 0.5)
    costs = cost * np.random.default_rng(0).uniform(0.1, 2, len(rows))
    theirs = by_scikit_learn(rows, labels, classes, costs)
    ours = losses(rows, labels, costs, *fit_squared_hinge(rows, labels, classes, costs))
    assert (ours >= theirs * (1 - 1e-6)).all()
    np.testing.assert_allclose(ours, theirs, rtol=1e-2)
    monkeypatch.setattr(squared_hinge, "TOLERANCE", 1e-9)
    closer = losses(rows, labels, costs, *fit_squared_hinge(rows, labels, classes, costs))
    np.testing.assert_allclose(closer, theirs, rtol=1e-5)


def test_principal_axes_change_nothing_but_the_time(clouds: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squared_hinge, "TOLERANCE", 1e-9)
    rows, labels = clouds(60, 20, 3)
    rows = rows * np.geomspace(0.1, 3, 20) @ np.linalg.qr(np.random.default_rng(0).normal(size=(20, 20)))[0]
    space = RowSpace.of(rows, np.zeros(20))
    turned = space.on_columns(*fit_squared_hinge(space.rows, labels, 3, np.ones(60)))
    coef, intercept = fit_squared_hinge(rows, labels, 3, np.ones(60))
    np.testing.assert_allclose(turned[0], coef, atol=1e-3)
    np.testing.assert_allclose(turned[1], intercept, atol=1e-3)


def test_two_classes_mirror_each_other(clouds: Clouds) -> None:
    rows, labels = clouds(50, 5, 2)
    coef, intercept = fit_squared_hinge(rows, labels, 2, np.ones(50))
    np.testing.assert_allclose(coef[0], -coef[1], atol=1e-6)
    np.testing.assert_allclose(intercept[0], -intercept[1], atol=1e-6)


def test_a_class_without_rows_is_never_expected(clouds: Clouds) -> None:
    rows, labels = clouds(60, 5, 2)
    coef, intercept = fit_squared_hinge(rows, 2 * labels, 4, np.ones(60))
    np.testing.assert_allclose((rows @ coef.T + intercept)[:, [1, 3]], -1, atol=0.05)


def test_rows_without_columns_leave_the_intercept() -> None:
    labels = np.array([0, 0, 0, 1])
    coef, intercept = fit_squared_hinge(np.zeros((4, 0)), labels, 2, np.full(4, 100.0))
    assert coef.shape == (2, 0)
    np.testing.assert_allclose(intercept, [0.5, -0.5], atol=0.01)
