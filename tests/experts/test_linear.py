import numpy as np
import pytest

from manyeyes.experts.calibration import fit_temperature, log_loss, tempered
from manyeyes.experts.linear import calibrated, unit_blocks

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_every_block_of_every_row_has_the_same_length(size: float) -> None:
    X = size * RNG.normal(size=(7, 6))
    before = X.copy()
    rows = unit_blocks(X, (2, 3, 1))
    assert np.array_equal(X, before)
    for columns in ([0, 1], [2, 3, 4], [5]):
        np.testing.assert_allclose(np.linalg.norm(rows[:, columns], axis=1), 3**-0.5)
        angles = (rows[:, columns] * (X[:, columns] / size)).sum(axis=1) / np.linalg.norm(X[:, columns] / size, axis=1)
        np.testing.assert_allclose(angles, 3**-0.5)


def test_a_block_of_zeros_stays() -> None:
    rows = unit_blocks(np.array([[0, 0, 3, 4]], dtype=np.float32), (2, 2))
    np.testing.assert_allclose(rows, [[0, 0, 0.6 * 0.5**0.5, 0.8 * 0.5**0.5]])


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e4])
def test_calibration_does_not_mind_the_scores_unit(unit: float) -> None:
    labels = RNG.integers(0, 3, 200)
    scores = np.eye(3)[labels] + RNG.normal(size=(200, 3))
    expected = tempered(scores, fit_temperature(scores, labels, np.ones(200)))
    opinion = calibrated(unit * scores, labels, np.ones(200))
    np.testing.assert_allclose(opinion.log_proba, expected, atol=0.02)
    np.testing.assert_allclose(tempered(unit * scores, opinion.temperature), opinion.log_proba)
    assert opinion.loss == log_loss(opinion.log_proba, labels, np.ones(200))


def test_scores_that_say_nothing_make_every_class_as_probable() -> None:
    opinion = calibrated(np.zeros((6, 3)), np.arange(6) % 3, np.ones(6))
    np.testing.assert_allclose(np.exp(opinion.log_proba), 1 / 3)
