import numpy as np
import pytest

from manyeyes.features.table import FeatureTable
from manyeyes.fusion import class_precision
from manyeyes.fusion.class_precision import ClassPrecision, shrunk_precision


def said(predicted, classes: int = 3):
    """Opinions of one expert that is all but sure of what it predicts: (n, 1, C)."""
    return np.log(0.01 + 0.97 * np.eye(classes)[predicted])[:, None]


def test_precision_is_how_often_a_prediction_was_right(monkeypatch):
    monkeypatch.setattr(class_precision, "PRIOR", 1e-9)
    labels, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 2])
    weights = np.array([1.0, 1, 1, 3, 1, 1])
    np.testing.assert_allclose(shrunk_precision(said(predicted), labels, weights)[0], [2 / 3, 3 / 4, 1])


def test_what_was_never_predicted_is_believed_as_much_as_the_expert_is_accurate():
    labels = np.array([0, 0, 1, 1, 2])
    precision = shrunk_precision(said(np.array([0, 0, 1, 0, 0])), labels, np.ones(5))[0]
    assert precision[2] == pytest.approx((3 + 1) / (5 + 2))
    assert precision[0] < precision[2] < precision[1]


def test_who_knows_a_class_decides_on_it() -> None:
    """Each expert sees two of four classes apart; where both think that they know, the precise one is to be heard."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(800) % 4)
    merged = {"a": np.where(y < 2, y, rng.integers(2, 4, 800)), "b": np.where(y >= 2, y, rng.integers(0, 2, 800))}
    table = FeatureTable(
        {name: (4 * np.eye(4)[classes] + rng.normal(size=(800, 4))).astype("f4") for name, classes in merged.items()}
    )
    model = ClassPrecision("kernel-ridge").fit(table[:400], y[:400])
    assert (model.precision_[0, :2] > model.precision_[0, 2:] + 0.2).all()
    assert (model.precision_[1, 2:] > model.precision_[1, :2] + 0.2).all()
    alone = (model.panel_.log_proba(table[400:]).argmax(axis=2) == y[400:, None]).mean(axis=0)
    assert model.score(table[400:], y[400:]) > alone.max() + 0.1
    model.temperature_ = 1.0
    weighed = np.einsum("kc,nkc->nc", model.precision_, np.exp(model.panel_.log_proba(table)))
    np.testing.assert_allclose(model.predict_proba(table), weighed / weighed.sum(axis=1, keepdims=True))
