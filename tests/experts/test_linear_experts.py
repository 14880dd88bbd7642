"""What all experts with linear scores on L2-normalised blocks have in common."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from manyeyes.experts import EXPERTS
from manyeyes.experts.calibration import fit_temperature

Array = npt.NDArray[Any]
Clouds = Callable[..., tuple[Array, Array]]
KINDS = ["linear-svm", "pca-linear-svm", "ridge", "lda"]
# More rows than columns, and more columns than rows.
SHAPES = [(120, 8), (40, 90)]

pytestmark = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [2, 3])
def test_its_scores_are_linear_in_normalised_blocks(
    clouds: Clouds, kind: str, shape: tuple[int, int], classes: int
) -> None:
    X, y = clouds(*shape, classes)
    new = clouds(30, shape[1], classes, seed=1)[0]
    model = EXPERTS[kind](blocks=(3, shape[1] - 3)).fit(X, y)
    assert model.coef_.shape == (classes, shape[1]) and model.intercept_.shape == (classes,)
    parts = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (new[:, :3], new[:, 3:])]
    scores = np.hstack(parts) / 2**0.5 @ model.coef_.T + model.intercept_
    odds = scores[:, 1:] - scores[:, :1]
    log_proba = model.predict_log_proba(new)
    np.testing.assert_allclose(odds / model.temperature_, log_proba[:, 1:] - log_proba[:, :1], atol=1e-9)
    np.testing.assert_allclose(np.exp(log_proba).sum(axis=1), 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_learns(clouds: Clouds, kind: str, shape: tuple[int, int]) -> None:
    X, y = clouds(2 * shape[0], shape[1], 3, 1.5)
    train, test = np.arange(shape[0]), np.arange(shape[0], 2 * shape[0])
    model = EXPERTS[kind]().fit(X[train], y[train])
    assert (model.predict(X[test]) == y[test]).mean() > 0.9
    assert (model.out_of_fold_.argmax(axis=1) == y[train]).mean() > 0.85


def test_out_of_fold_opinions_know_nothing_of_random_labels(clouds: Clouds, kind: str) -> None:
    X = clouds(200, 300, 4)[0]
    y = np.random.default_rng(1).integers(0, 4, 200)
    model = EXPERTS[kind]().fit(X, y)
    assert (model.out_of_fold_.argmax(axis=1) == y).mean() < 0.4


def test_rows_of_one_group_do_not_vouch_for_each_other(clouds: Clouds, kind: str) -> None:
    """Copies with random labels: known when one stays while the other is left out, unknown when both are."""
    X = np.repeat(clouds(60, 100, 3)[0], 2, axis=0)
    y = np.repeat(np.random.default_rng(1).integers(0, 3, 60), 2)
    groups = np.repeat([f"film {number}" for number in range(60)], 2)
    alone, together = EXPERTS[kind]().fit(X, y), EXPERTS[kind]().fit(X, y, groups)
    assert (alone.out_of_fold_.argmax(axis=1) == y).mean() > 0.8
    assert (together.out_of_fold_.argmax(axis=1) == y).mean() < 0.55


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_in_float32_give_the_same_model(clouds: Clouds, kind: str, shape: tuple[int, int]) -> None:
    X, y = clouds(*shape, 3)
    small = X.astype(np.float32)
    expected = EXPERTS[kind]().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(EXPERTS[kind]().fit(small, y).predict_proba(small), expected, atol=0.02)


@pytest.mark.parametrize("scale", [1e-6, 1e60])
def test_no_block_outshouts_another(clouds: Clouds, kind: str, scale: float) -> None:
    X, y = clouds(60, 9, 3)
    scales = np.where(np.arange(9) < 4, scale, 1.0)
    expected = EXPERTS[kind](blocks=(4, 5)).fit(X, y).predict_proba(X)
    model = EXPERTS[kind](blocks=(4, 5)).fit(X * scales, y)
    np.testing.assert_allclose(model.predict_proba(X * scales), expected, atol=1e-3)


@pytest.mark.parametrize("apart", [0.4, 2.0])
def test_its_temperature_is_the_best_out_of_fold(clouds: Clouds, kind: str, apart: float) -> None:
    X, y = clouds(90, 6, 3, apart)
    model = EXPERTS[kind]().fit(X, y)
    assert fit_temperature(model.out_of_fold_, y, np.ones(90)) == pytest.approx(1.0, abs=0.03)


def test_balanced_weights_find_more_of_a_rare_class(clouds: Clouds, kind: str) -> None:
    X, y = clouds(300, 5, 2, 0.5, p=[0.92, 0.08])
    plain, balanced = (EXPERTS[kind](class_weight=weight).fit(X, y) for weight in (None, "balanced"))
    recall = [(model.predict(X)[y == 1] == 1).mean() for model in (plain, balanced)]
    assert recall[0] < 0.6 < recall[1]


def test_a_class_of_no_weight_is_not_learnt(clouds: Clouds, kind: str) -> None:
    X, y = clouds(60, 8, 3, 1.5)
    model = EXPERTS[kind](class_weight={2: 0.0}).fit(X, y)
    assert np.isfinite(model.out_of_fold_).all()
    assert (model.predict(X) != 2).all()
    assert (model.predict(X) == y)[y != 2].mean() > 0.9


@pytest.mark.parametrize("classes", [2, 3])
def test_one_photo_a_class_is_enough_to_fit(clouds: Clouds, kind: str, classes: int) -> None:
    X, y = clouds(classes, 6, classes)
    model = EXPERTS[kind]().fit(X, y)
    assert model.predict(X).tolist() == y.tolist()
    np.testing.assert_allclose(np.exp(model.out_of_fold_).sum(axis=1), 1)


def test_a_class_of_one_photo_is_learnt_and_never_out_of_fold(clouds: Clouds, kind: str) -> None:
    X, y = clouds(41, 90, 2)
    y[0], X[0] = 2, np.random.default_rng(5).normal(size=90)
    model = EXPERTS[kind]().fit(X, y)
    assert model.predict(X[:1]) == [2]
    assert model.out_of_fold_[0].argmax() != 2
    assert np.isfinite(model.out_of_fold_).all()


def test_rows_of_zeros_and_equal_rows_are_no_trouble(clouds: Clouds, kind: str) -> None:
    X, y = clouds(20, 9, 2)
    X[:3] = 0
    X[10:] = X[10]
    assert np.isfinite(EXPERTS[kind](blocks=(4, 5)).fit(X, y).predict_log_proba(X)).all()
    same = np.ones((6, 9))
    np.testing.assert_allclose(EXPERTS[kind]().fit(same, [0, 1] * 3).predict_proba(same), 0.5, atol=1e-6)


def test_no_opinion_is_infinitely_sure(clouds: Clouds, kind: str) -> None:
    X, y = clouds(40, 90, 3, 30.0)
    model = EXPERTS[kind]().fit(X, y)
    assert np.isfinite(model.out_of_fold_).all()
    assert np.isfinite(model.predict_log_proba(100 * X)).all()


def test_blocks_that_do_not_add_up_are_refused(clouds: Clouds, kind: str) -> None:
    X, y = clouds(10, 6, 2)
    with pytest.raises(ValueError, match=r"blocks \(2, 3\) want 5 columns, X has 6"):
        EXPERTS[kind](blocks=(2, 3)).fit(X, y)


def test_groups_want_an_entry_for_each_row(clouds: Clouds, kind: str) -> None:
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        EXPERTS[kind]().fit(*clouds(10, 6, 2), np.arange(3))
