from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from manyeyes.experts import folds, linear_svm, squared_hinge
from manyeyes.experts.calibration import log_loss, tempered
from manyeyes.experts.linear import unit_blocks
from manyeyes.experts.linear_svm import LinearSvm, PcaLinearSvm, RawLinearSvm

Array = npt.NDArray[Any]
Clouds = Callable[..., tuple[Array, Array]]
SHAPES = [(120, 8), (40, 90)]


@pytest.fixture(autouse=True)
def to_the_last_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Solvers are compared by their solutions, which differ by the root of what their losses do."""
    monkeypatch.setattr(squared_hinge, "TOLERANCE", 1e-9)


def scikit(C: float, **options: Any) -> LinearSVC:
    return LinearSVC(C=C, tol=1e-9, max_iter=500_000, **options)


def counts(class_weight: str | None, y: Array) -> Array | None:
    """By row: LinearSVC's own class_weight is, of more than two classes, not for the rest in one against the rest."""
    return None if class_weight is None else len(y) / len(np.unique(y)) / np.bincount(y)[y]


def scores_of(model: LinearSVC, rows: Array) -> Array:
    """(n, C), also of two classes."""
    scores = model.decision_function(rows)
    return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_it_is_linear_svc_on_normalised_centred_rows(
    clouds: Clouds, shape: tuple[int, int], classes: int, class_weight: str | None
) -> None:
    X, y = clouds(*shape, classes, p=[0.8, 0.2] if classes == 2 else [0.6, 0.3, 0.1])
    new = clouds(50, shape[1], classes, seed=1)[0]
    blocks = (3, shape[1] - 3)
    scaler = StandardScaler(with_std=False).fit(unit_blocks(X, blocks))
    ours = LinearSvm(blocks, C=3.0, class_weight=class_weight).fit(X, y)
    theirs = scikit(3.0).fit(scaler.transform(unit_blocks(X, blocks)), y, counts(class_weight, y))
    expected = scores_of(theirs, scaler.transform(unit_blocks(new, blocks)))
    np.testing.assert_allclose(unit_blocks(new, blocks) @ ours.coef_.T + ours.intercept_, expected, atol=2e-3)
    np.testing.assert_allclose(ours.predict_log_proba(new), tempered(expected, ours.temperature_), atol=0.02)


def test_raw_it_is_linear_svc_on_the_columns_as_they_are(clouds: Clouds) -> None:
    X, y = clouds(60, 8, 3)
    X[:, :4] *= 20
    ours, theirs = RawLinearSvm(C=0.01).fit(X, y), scikit(0.01).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-3)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=2e-3)
    np.testing.assert_allclose(ours.predict_log_proba(X), tempered(scores_of(theirs, X), ours.temperature_), atol=0.02)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("components", [3, 1000])
def test_components_are_found_on_each_folds_training_rows(
    clouds: Clouds, shape: tuple[int, int], components: int
) -> None:
    X, y = clouds(*shape, 3)
    rows = unit_blocks(X, (shape[1],))
    model = PcaLinearSvm(components=components, C=5.0, random_state=3).fit(X, y)

    def pipeline(count: int) -> Any:
        return make_pipeline(PCA(min(components, count - 1, shape[1]), svd_solver="full"), scikit(5.0))

    scores = np.empty_like(model.out_of_fold_)
    for train, held in StratifiedKFold(5, shuffle=True, random_state=3).split(rows, y):
        scores[held] = pipeline(len(train)).fit(rows[train], y[train]).decision_function(rows[held])
    np.testing.assert_allclose(model.out_of_fold_, tempered(scores, model.temperature_), atol=0.02)
    whole = pipeline(len(rows)).fit(rows, y).decision_function(rows)
    np.testing.assert_allclose(rows @ model.coef_.T + model.intercept_, whole, atol=5e-3)


def test_fewer_components_are_another_model(clouds: Clouds) -> None:
    X, y = clouds(80, 30, 3)
    few, all_of_them, without = (model.fit(X, y) for model in (PcaLinearSvm(components=2), PcaLinearSvm(), LinearSvm()))
    assert np.linalg.matrix_rank(few.coef_) == 2
    np.testing.assert_allclose(all_of_them.predict_proba(X), without.predict_proba(X), atol=0.01)
    assert np.abs(few.predict_proba(X) - without.predict_proba(X)).max() > 0.05


@pytest.mark.parametrize("apart", [0.2, 1.0])
def test_the_cost_is_the_one_of_least_cross_validated_log_loss(clouds: Clouds, apart: float) -> None:
    X, y = clouds(150, 20, 3, apart)
    unit = 1 / unit_blocks(X, (20,)).var(axis=0).sum()
    losses = {
        cost * unit: log_loss(LinearSvm(C=cost * unit).fit(X, y).out_of_fold_, y, np.ones(150))
        for cost in linear_svm.COSTS
    }
    best = min(losses, key=lambda cost: losses[cost])
    np.testing.assert_allclose(LinearSvm().fit(X, y).C_, best)


def test_where_rows_are_many_the_first_folds_choose_and_all_speak(
    clouds: Clouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = clouds(100, 10, 3, 0.4)
    solved: list[int] = []

    def counting(rows: Array, *rest: Any) -> Any:
        solved.append(len(rows))
        return squared_hinge.fit_squared_hinge(rows, *rest)

    monkeypatch.setattr(linear_svm, "fit_squared_hinge", counting)
    monkeypatch.setattr(folds, "TUNING_ROWS", 35)
    model = LinearSvm().fit(X, y)
    # Two folds hold out 40 rows: some costs on two of them, one on the other three, and then all rows.
    assert solved.count(100) == 1 and len(solved) % 2 == 0 and len(solved) < 5 * 3 + 1
    again = LinearSvm(C=model.C_).fit(X, y)
    np.testing.assert_allclose(model.out_of_fold_, again.out_of_fold_)


def test_the_seed_chooses_the_folds_and_nothing_else_is_random(clouds: Clouds) -> None:
    X, y = clouds(40, 6, 2)
    one, again = LinearSvm(random_state=1).fit(X, y), LinearSvm(random_state=1).fit(X, y)
    assert np.array_equal(one.coef_, again.coef_)
    assert np.array_equal(one.out_of_fold_, again.out_of_fold_)
    other = LinearSvm(C=one.C_, random_state=2).fit(X, y)
    assert np.array_equal(one.coef_, other.coef_)
    assert not np.array_equal(one.out_of_fold_, other.out_of_fold_)


def test_an_unknown_scaling_is_refused(clouds: Clouds) -> None:
    with pytest.raises(ValueError, match="'unit' or 'raw', not 'standard'"):
        LinearSvm(scaling="standard").fit(*clouds(10, 3, 2))
