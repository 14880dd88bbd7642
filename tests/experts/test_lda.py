from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold

from manyeyes.experts.calibration import log_loss, tempered
from manyeyes.experts.lda import Lda
from manyeyes.experts.linear import unit_blocks

Array = npt.NDArray[Any]
Clouds = Callable[..., tuple[Array, Array]]
SHAPES = [(90, 6), (40, 70)]


def scikit(shrinkage: float) -> LinearDiscriminantAnalysis:
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)


def scores_of(model: LinearDiscriminantAnalysis, rows: Array) -> Array:
    """(n, C), also of two classes; its own log-probabilities are cut off."""
    scores = model.decision_function(rows)
    return np.stack([0 * scores, scores], axis=1) if scores.ndim == 1 else scores


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("shrinkage", [0.01, 0.4, 1.0])
def test_it_is_the_discriminant_analysis_of_scikit_learn(
    clouds: Clouds, shape: tuple[int, int], classes: int, shrinkage: float
) -> None:
    X, y = clouds(*shape, classes)
    new = clouds(30, shape[1], classes, seed=1)[0]
    blocks = (2, shape[1] - 2)
    model = Lda(blocks, shrinkage).fit(X, y)
    assert model.shrinkage_ == shrinkage
    theirs = scikit(shrinkage).fit(unit_blocks(X, blocks), y)
    expected = tempered(scores_of(theirs, unit_blocks(new, blocks)), model.temperature_)
    np.testing.assert_allclose(model.predict_log_proba(new), expected, atol=1e-6)


def test_a_weight_is_a_number_of_copies(clouds: Clouds) -> None:
    X, y = clouds(60, 5, 3)
    model = Lda(shrinkage=0.3, class_weight={1: 3.0}).fit(X, y)
    copies = np.repeat(np.arange(60), np.where(y == 1, 3, 1))
    theirs = scikit(0.3).fit(unit_blocks(X, (5,))[copies], y[copies])
    expected = tempered(scores_of(theirs, unit_blocks(X, (5,))), model.temperature_)
    np.testing.assert_allclose(model.predict_log_proba(X), expected, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_out_of_fold_opinions_are_those_of_the_folds(clouds: Clouds, shape: tuple[int, int]) -> None:
    X, y = clouds(*shape, 3, 0.7)
    rows = unit_blocks(X, (shape[1],))
    model = Lda(random_state=3).fit(X, y)
    for train, held in StratifiedKFold(5, shuffle=True, random_state=3).split(rows, y):
        theirs = scikit(model.shrinkage_).fit(rows[train], y[train])
        expected = tempered(scores_of(theirs, rows[held]), model.temperature_)
        np.testing.assert_allclose(model.out_of_fold_[held], expected, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shrinkage_is_chosen_out_of_fold(clouds: Clouds, shape: tuple[int, int]) -> None:
    X, y = clouds(*shape, 3, 0.4)
    chosen = Lda().fit(X, y)
    loss = log_loss(chosen.out_of_fold_, y, np.ones(len(y)))
    for shrinkage in (0.02, 0.2, 0.5, 0.98):
        other = Lda(shrinkage=shrinkage).fit(X, y)
        assert loss < log_loss(other.out_of_fold_, y, np.ones(len(y))) + 0.01


@pytest.mark.parametrize("shrinkage", [0.0, -0.1, 1.5])
def test_a_shrinkage_out_of_range_is_refused(clouds: Clouds, shrinkage: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        Lda(shrinkage=shrinkage).fit(*clouds(10, 3, 2))
