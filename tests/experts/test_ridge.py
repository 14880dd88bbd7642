from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax
from sklearn.linear_model import Ridge as ScikitRidge

from manyeyes.experts.calibration import fit_temperature, log_loss, tempered
from manyeyes.experts.linear import unit_blocks
from manyeyes.experts.ridge import STRENGTHS, Ridge

Array = npt.NDArray[Any]
Clouds = Callable[..., tuple[Array, Array]]
SHAPES = [(60, 6), (24, 50)]


def weights_of(class_weight: Any, y: Array) -> Array:
    weights = np.ones(len(y)) if class_weight is None else np.where(y == 0, 5.0, 1.0)
    if class_weight == "balanced":
        weights = 1 / np.bincount(y)[y]
    return weights / weights.mean()


def left_out(rows: Array, y: Array, weights: Array, groups: Array, strength: float) -> Array:
    """By fitting anew without each row's group."""
    targets = np.eye(y.max() + 1)[y]
    outputs = np.empty_like(targets)
    for group in np.unique(groups):
        rest = groups != group
        ridge = ScikitRidge(alpha=strength, solver="svd").fit(rows[rest], targets[rest], sample_weight=weights[rest])
        outputs[~rest] = ridge.predict(rows[~rest])
    return outputs


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 5.0}])
@pytest.mark.parametrize("group_size", [1, 3])
def test_leaving_out_in_closed_form_is_refitting_without_that_row_or_group(
    clouds: Clouds, shape: tuple[int, int], class_weight: Any, group_size: int
) -> None:
    X, y = clouds(*shape, 3, 0.6, p=[0.2, 0.5, 0.3])
    groups = np.random.default_rng(0).permutation(np.arange(len(X)) // group_size)
    model = Ridge(class_weight=class_weight).fit(X, y, groups if group_size > 1 else None)
    rows = unit_blocks(X, (shape[1],))
    outputs = left_out(rows, y, weights_of(class_weight, y), groups, model.strength_)
    np.testing.assert_allclose(np.exp(model.out_of_fold_), softmax(outputs / model.temperature_, axis=1), atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_it_is_ridge_regression_on_one_hot_targets(
    clouds: Clouds, shape: tuple[int, int], classes: int, class_weight: str | None
) -> None:
    X, y = clouds(*shape, classes, 0.6)
    model = Ridge((2, shape[1] - 2), class_weight).fit(X, y)
    rows = unit_blocks(X, (2, shape[1] - 2))
    theirs = ScikitRidge(alpha=model.strength_, solver="svd")
    theirs.fit(rows, np.eye(classes)[y], sample_weight=weights_of(class_weight, y))
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=1e-7)
    np.testing.assert_allclose(model.intercept_, theirs.intercept_, atol=1e-7)


def test_the_strength_is_the_one_of_least_leave_one_out_log_loss(clouds: Clouds) -> None:
    X, y = clouds(60, 12, 3, 0.3)
    rows = unit_blocks(X, (12,))
    losses = {}
    for strength in np.array(STRENGTHS) * rows.var(axis=0).sum():
        outputs = left_out(rows, y, np.ones(60), np.arange(60), strength)
        temperature = outputs.std() * fit_temperature(outputs / outputs.std(), y, np.ones(60))
        losses[strength] = log_loss(tempered(outputs, temperature), y, np.ones(60))
    assert Ridge().fit(X, y).strength_ == pytest.approx(min(losses, key=lambda strength: losses[strength]))
