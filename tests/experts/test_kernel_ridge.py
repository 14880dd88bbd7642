from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax
from sklearn.kernel_ridge import KernelRidge as ScikitKernelRidge

from manyeyes.experts.calibration import fit_temperature
from manyeyes.experts.kernel_ridge import KernelRidge

Array = npt.NDArray[Any]
Clouds = Callable[..., tuple[Array, Array]]
BLOCKS = (5, 3, 8)


def prepared(X: Array) -> Array:
    """Rows as the module's header describes them, one by one and block by block."""
    rows = []
    for x in X:
        blocks = [np.sign(block) * abs(block) ** 0.5 for block in np.split(x, np.cumsum(BLOCKS)[:-1])]
        rows.append(np.concatenate([block / np.linalg.norm(block) for block in blocks]))
    return np.array(rows)


def kept(X: Array) -> Array:
    """Prepared rows as a model keeps them: in half precision."""
    return prepared(X).astype(np.float16).astype(np.float64)


def rbf(a: Array, b: Array, gamma: float) -> Array:
    """exp(-gamma d²), d² the mean of the blocks' squared distances."""
    kernel: Array = np.exp(-gamma * ((a[:, None] - b[None]) ** 2).sum(axis=2) / len(BLOCKS))
    return kernel


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 5.0}])
@pytest.mark.parametrize("apart", [0.3, 1.0])
@pytest.mark.parametrize("group_size", [1, 3])
def test_leaving_out_in_closed_form_is_refitting_without_that_row_or_group(
    clouds: Clouds, class_weight: Any, apart: float, group_size: int
) -> None:
    X, y = clouds(30, sum(BLOCKS), 3, apart, p=[0.2, 0.5, 0.3])
    groups = np.random.default_rng(0).permutation(np.arange(30) // group_size)
    model = KernelRidge(BLOCKS, class_weight=class_weight).fit(X, y, groups if group_size > 1 else None)
    weights = np.ones(30) if class_weight is None else np.where(y == 0, 5.0, 1.0)
    if class_weight == "balanced":
        weights = 1 / np.bincount(y)[y]
    weights /= weights.mean()
    targets = np.eye(3)[y]
    centre = np.average(targets, axis=0, weights=weights)
    kernel = rbf(kept(X), kept(X), model.ridge_.gamma_)
    outputs = []
    for i in range(30):
        rest = np.flatnonzero(groups != groups[i])
        ridge = kernel[np.ix_(rest, rest)] + np.diag(model.ridge_.strength_ / weights[rest])
        outputs.append(kernel[i, rest] @ np.linalg.solve(ridge, targets[rest] - centre) + centre)
    np.testing.assert_allclose(
        np.exp(model.out_of_fold_), softmax(np.array(outputs) / model.ridge_.temperature_, axis=1), atol=2e-6
    )


def test_with_every_row_a_landmark_it_is_kernel_ridge_regression(clouds: Clouds) -> None:
    X, y = clouds(80, sum(BLOCKS), 3, 0.7)
    new = clouds(40, sum(BLOCKS), 3, seed=1)[0]
    model = KernelRidge(BLOCKS, landmarks=80).fit(X, y)
    targets = np.eye(3)[y]
    theirs = ScikitKernelRidge(alpha=model.ridge_.strength_, kernel="precomputed")
    theirs.fit(rbf(kept(X), kept(X), model.ridge_.gamma_), targets - targets.mean(axis=0))
    outputs = theirs.predict(rbf(prepared(new), kept(X), model.ridge_.gamma_)) + targets.mean(axis=0)
    np.testing.assert_allclose(
        model.predict_proba(new), softmax(outputs / model.ridge_.temperature_, axis=1), atol=1e-5
    )


def test_fewer_landmarks_than_rows_come_close(clouds: Clouds) -> None:
    X, y = clouds(400, 6, 3, 1.5)
    train, test = np.arange(250), np.arange(250, 400)
    exact = KernelRidge().fit(X[train], y[train])
    nystroem = KernelRidge(landmarks=80, random_state=1).fit(X[train], y[train])
    assert nystroem.landmarks_.shape == (80, 6) and nystroem.ridge_.coef_.shape == (80, 3)
    assert np.abs(nystroem.predict_proba(X[test]) - exact.predict_proba(X[test])).mean() < 0.03
    assert np.abs(np.exp(nystroem.out_of_fold_) - np.exp(exact.out_of_fold_)).mean() < 0.03
    assert (nystroem.predict(X[test]) == y[test]).mean() > (exact.predict(X[test]) == y[test]).mean() - 0.03


def test_landmarks_are_chosen_by_the_seed(clouds: Clouds) -> None:
    X, y = clouds(60, 4, 2)
    one, again, other = (KernelRidge(landmarks=20, random_state=seed).fit(X, y) for seed in (1, 1, 2))
    assert np.array_equal(one.landmarks_, again.landmarks_) and np.array_equal(one.ridge_.coef_, again.ridge_.coef_)
    assert not np.array_equal(one.landmarks_, other.landmarks_)


def test_leave_one_out_knows_nothing_of_random_labels(clouds: Clouds) -> None:
    X = clouds(200, 30, 4)[0]
    y = np.random.default_rng(1).integers(0, 4, 200)
    assert (KernelRidge().fit(X, y).out_of_fold_.argmax(axis=1) == y).mean() < 0.4


@pytest.mark.parametrize("block", range(3))
def test_no_block_outshouts_another(clouds: Clouds, block: int) -> None:
    X, y = clouds(60, sum(BLOCKS), 3)
    scales = np.repeat(np.where(np.arange(3) == block, 1000.0, 1.0), BLOCKS)
    expected = KernelRidge(BLOCKS).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(KernelRidge(BLOCKS).fit(X * scales, y).predict_proba(X * scales), expected, atol=1e-4)


def test_probabilities_sum_to_one(clouds: Clouds) -> None:
    X, y = clouds(50, 6, 4)
    model = KernelRidge().fit(X, y)
    for proba in (model.predict_proba(100 * X), np.exp(model.out_of_fold_)):
        assert (proba >= 0).all()
        np.testing.assert_allclose(proba.sum(axis=1), 1)


@pytest.mark.parametrize("apart", [0.4, 2.0])
def test_its_temperature_is_the_best_out_of_fold(clouds: Clouds, apart: float) -> None:
    X, y = clouds(90, 6, 3, apart)
    model = KernelRidge().fit(X, y)
    assert fit_temperature(model.out_of_fold_, y, np.ones(90)) == pytest.approx(1.0, abs=0.03)


def test_signs_are_kept() -> None:
    X = np.random.default_rng(0).uniform(1, 2, (40, 5))
    y = np.repeat([0, 1], 20)
    X[y == 1] *= -1
    model = KernelRidge().fit(X, y)
    assert (model.out_of_fold_.argmax(axis=1) == y).all()


def test_rows_of_zeros_and_equal_rows_are_no_trouble(clouds: Clouds) -> None:
    X, y = clouds(20, sum(BLOCKS), 2)
    X[:3] = 0
    X[10:] = X[10]
    assert np.isfinite(KernelRidge(BLOCKS).fit(X, y).predict_proba(X)).all()
    same = np.ones((6, sum(BLOCKS)))
    np.testing.assert_allclose(KernelRidge(BLOCKS).fit(same, [0, 1] * 3).predict_proba(same), 0.5, atol=1e-6)


def test_one_photo_a_class_is_enough_to_fit(clouds: Clouds) -> None:
    X, y = clouds(3, 6, 3)
    assert KernelRidge().fit(X, y).predict(X).tolist() == y.tolist()


def test_blocks_that_do_not_add_up_are_refused(clouds: Clouds) -> None:
    X, y = clouds(10, 6, 2)
    with pytest.raises(ValueError, match=r"blocks \(2, 3\) want 5 columns, X has 6"):
        KernelRidge((2, 3)).fit(X, y)


def test_balanced_weights_find_more_of_a_rare_class(clouds: Clouds) -> None:
    X, y = clouds(300, 5, 2, 0.7, p=[0.92, 0.08])
    plain, balanced = (KernelRidge(class_weight=weight).fit(X, y) for weight in (None, "balanced"))
    recall = [(model.out_of_fold_.argmax(axis=1)[y == 1] == 1).mean() for model in (plain, balanced)]
    assert recall[0] + 0.2 < recall[1]
