from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.preprocessing import StandardScaler

from manyeyes.experts.softmax import STRENGTHS, SoftmaxRegression

Array = npt.NDArray[Any]
Clouds = Callable[..., tuple[Array, Array]]
# More rows than columns, and more columns than rows: the latter is solved in the space of the rows.
SHAPES = [(120, 8), (40, 90)]


def scaler_of(X: Array) -> StandardScaler:
    """Standardises, but stretches no column that varies less than the median one."""
    scaler = StandardScaler().fit(X)
    scaler.scale_ = np.maximum(scaler.scale_, np.median(scaler.scale_))
    return scaler


def reference(C: float, **options: Any) -> LogisticRegression:
    return LogisticRegression(C=C, tol=1e-8, max_iter=10_000, **options)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_it_is_logistic_regression_on_standardised_columns(
    clouds: Clouds, shape: tuple[int, int], classes: int, class_weight: str | None
) -> None:
    X, y = clouds(*shape, classes, p=[0.8, 0.2] if classes == 2 else [0.6, 0.3, 0.1])
    X[:, 0] = 50 * X[:, 0] + 7
    scaler = scaler_of(X)
    ours = SoftmaxRegression(C=0.1, class_weight=class_weight).fit(X, y)
    theirs = reference(0.1, class_weight=class_weight).fit(scaler.transform(X), y)
    new = clouds(50, shape[1], classes, seed=1)[0]
    np.testing.assert_allclose(ours.predict_proba(new), theirs.predict_proba(scaler.transform(new)), atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [2, 3])
def test_the_strength_is_the_one_of_least_cross_validated_log_loss(
    clouds: Clouds, shape: tuple[int, int], classes: int
) -> None:
    X, y = clouds(*shape, classes, apart=1.5 / shape[1] ** 0.5)
    rows = scaler_of(X).transform(X)
    opinions = {
        C: cross_val_predict(
            reference(C), rows, y, cv=StratifiedKFold(5, shuffle=True, random_state=3), method="predict_proba"
        )
        for C in STRENGTHS
    }
    model = SoftmaxRegression(random_state=3).fit(X, y)
    assert min(opinions, key=lambda C: log_loss(y, opinions[C])) == model.C_
    assert min(STRENGTHS) < model.C_ < max(STRENGTHS)
    np.testing.assert_allclose(np.exp(model.out_of_fold_), opinions[model.C_], atol=1e-3)


def test_the_strength_is_chosen_by_what_the_photos_count(clouds: Clouds) -> None:
    X, y = clouds(120, 10, 2, apart=0.3, p=[0.85, 0.15])
    weight = {1: 20.0}
    opinions = {C: np.exp(SoftmaxRegression(C=C, class_weight=weight).fit(X, y).out_of_fold_) for C in STRENGTHS}
    counted, uncounted = (
        min(STRENGTHS, key=lambda C: log_loss(y, opinions[C], sample_weight=counts))
        for counts in (np.where(y == 1, 20.0, 1.0), None)
    )
    assert SoftmaxRegression(class_weight=weight).fit(X, y).C_ == counted != uncounted


def test_out_of_fold_opinions_know_nothing_of_random_labels(clouds: Clouds) -> None:
    X = clouds(200, 300, 4)[0]
    y = np.random.default_rng(1).integers(0, 4, 200)
    model = SoftmaxRegression(C=1.0).fit(X, y)
    assert (model.predict(X) == y).mean() > 0.99
    assert 0.1 < (model.out_of_fold_.argmax(axis=1) == y).mean() < 0.4


def test_coefficients_are_for_raw_columns(clouds: Clouds) -> None:
    X, y = clouds(60, 5, 3)
    model = SoftmaxRegression(C=0.1).fit(1000 * X - 3, y)
    assert model.coef_.shape == (3, 5) and model.intercept_.shape == (3,)
    by_hand = softmax((1000 * X - 3) @ model.coef_.T + model.intercept_, axis=1)
    np.testing.assert_allclose(model.predict_proba(1000 * X - 3), by_hand, atol=1e-12)


def test_balanced_weights_find_more_of_a_rare_class(clouds: Clouds) -> None:
    X, y = clouds(300, 4, 2, apart=0.5, p=[0.93, 0.07])
    recall = {
        str(weight): (SoftmaxRegression(C=0.1, class_weight=weight).fit(X, y).predict(X)[y == 1] == 1).mean()
        for weight in (None, "balanced", {1: 10.0})
    }
    assert recall["None"] < 0.5 < min(recall["balanced"], recall["{1: 10.0}"])


def test_a_weight_for_a_class_without_photos_is_refused(clouds: Clouds) -> None:
    with pytest.raises(ValueError, match="no photo has: cat"):
        SoftmaxRegression(class_weight={"cat": 2.0}).fit(clouds(10, 2, 2)[0], ["dog", "owl"] * 5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_a_constant_column_changes_nothing(clouds: Clouds, shape: tuple[int, int], value: float) -> None:
    X, y = clouds(*shape, 3)
    wider = np.column_stack([X, np.full(len(X), value)])
    expected = SoftmaxRegression(C=0.1).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(SoftmaxRegression(C=0.1).fit(wider, y).predict_proba(wider), expected, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-6, 1e60])
def test_the_scale_of_a_block_changes_nothing(clouds: Clouds, shape: tuple[int, int], scale: float) -> None:
    X, y = clouds(*shape, 3)
    blocks = (2, shape[1] - 2)
    scales = np.where(np.arange(shape[1]) < 2, scale, 1.0)
    expected = SoftmaxRegression(blocks, C=0.1).fit(X, y).predict_proba(X)
    actual = SoftmaxRegression(blocks, C=0.1).fit(X * scales, y).predict_proba(X * scales)
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_a_column_that_only_wakes_on_new_photos_does_not_shout(clouds: Clouds) -> None:
    X, y = clouds(80, 12, 2, 1.5)
    sleeping, awake = np.zeros((80, 1)), np.zeros((80, 1))
    sleeping[3], awake[:] = 1e-4, 0.3
    alone = SoftmaxRegression().fit(X, y).score(X, y)
    assert SoftmaxRegression().fit(np.hstack([X, sleeping]), y).score(np.hstack([X, awake]), y) > alone - 0.05


def test_blocks_that_do_not_add_up_are_refused(clouds: Clouds) -> None:
    X, y = clouds(20, 6, 2)
    with pytest.raises(ValueError, match="want 5 columns, X has 6"):
        SoftmaxRegression((2, 3)).fit(X, y)


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_in_float32_give_the_same_model(clouds: Clouds, shape: tuple[int, int]) -> None:
    X, y = clouds(*shape, 3)
    X[:, 0] += 100
    small = X.astype(np.float32)
    expected = SoftmaxRegression(C=0.1).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(SoftmaxRegression(C=0.1).fit(small, y).predict_proba(small), expected, atol=1e-4)


def test_a_class_of_one_photo_is_learnt_and_never_out_of_fold(clouds: Clouds) -> None:
    X, y = clouds(21, 4, 2, apart=3.0)
    y[0] = 2
    X[0] += 20
    model = SoftmaxRegression().fit(X, y)
    assert model.predict(X[:1]) == [2]
    np.testing.assert_allclose(np.exp(model.out_of_fold_).sum(axis=1), 1)
    np.testing.assert_allclose(np.exp(model.out_of_fold_[0, 2]), 1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_one_photo_a_class_is_enough_to_fit(clouds: Clouds, classes: int) -> None:
    X, y = clouds(classes, 6, classes)
    model = SoftmaxRegression().fit(X, y)
    assert model.predict(X).tolist() == y.tolist()
    np.testing.assert_allclose(model.out_of_fold_, -np.log(classes))


def test_a_lone_photo_beside_one_other_class_is_enough_to_fit() -> None:
    model = SoftmaxRegression().fit([[0.0], [0.1], [9.0]], ["many", "many", "one"])
    assert model.predict([[8.0]]).tolist() == ["one"]
    np.testing.assert_allclose(np.exp(model.out_of_fold_).sum(axis=1), 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(clouds: Clouds, value: float) -> None:
    X, y = clouds(10, 3, 2)
    model = SoftmaxRegression().fit(X, y)
    X[3, 1] = value
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        model.predict(X)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        model.fit(X, y)


def test_the_seed_chooses_the_folds_and_nothing_else_is_random(clouds: Clouds) -> None:
    X, y = clouds(40, 6, 2)
    one, again = SoftmaxRegression(random_state=1).fit(X, y), SoftmaxRegression(random_state=1).fit(X, y)
    assert np.array_equal(one.coef_, again.coef_)
    assert np.array_equal(one.out_of_fold_, again.out_of_fold_)
    other = SoftmaxRegression(C=one.C_, random_state=2).fit(X, y)
    assert np.array_equal(one.coef_, other.coef_)
    assert not np.array_equal(one.out_of_fold_, other.out_of_fold_)


@pytest.mark.parametrize("classes", [2, 3])
def test_no_opinion_is_infinitely_sure(clouds: Clouds, classes: int) -> None:
    X, y = clouds(40, 90, classes, 30.0)
    model = SoftmaxRegression(C=1e6).fit(X, y)
    assert np.isfinite(model.out_of_fold_).all()
    assert np.isfinite(model.predict_log_proba(100 * X)).all()
