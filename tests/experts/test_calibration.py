import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from manyeyes.experts.calibration import fit_temperature, log_loss, tempered

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("temperature", [0.02, 0.5, 1.0, 3.0, 12.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    logits = RNG.normal(size=(20_000, 4)) * 2
    labels = (np.cumsum(softmax(logits, axis=1), axis=1) < RNG.random((20_000, 1))).sum(axis=1)
    found = fit_temperature(logits * temperature, labels, np.ones(20_000))
    assert found == pytest.approx(temperature, rel=0.05)


def test_a_weight_of_two_is_a_row_counted_twice() -> None:
    logits, labels = RNG.normal(size=(60, 3)), RNG.integers(0, 3, 60)
    weights = RNG.integers(1, 4, 60)
    repeated = np.repeat(np.arange(60), weights)
    assert fit_temperature(logits, labels, weights.astype(float)) == pytest.approx(
        fit_temperature(logits[repeated], labels[repeated], np.ones(len(repeated)))
    )


def test_rows_that_are_all_right_make_no_more_sure_than_their_number() -> None:
    labels = np.arange(80) % 2
    sure = 50 * np.eye(2)[labels]
    confidence = np.exp(tempered(sure, fit_temperature(sure, labels, np.ones(80)))).max(axis=1)
    np.testing.assert_allclose(confidence, 1 - 0.5 / 81, atol=1e-3)


def test_a_temperature_of_one_leaves_log_probabilities_alone() -> None:
    log_proba = log_softmax(RNG.normal(size=(10, 4)) * 30, axis=1)
    np.testing.assert_allclose(tempered(log_proba, 1.0), log_proba, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.003, 0.7, 20.0])
def test_tempering_keeps_the_order_and_the_sum(temperature: float) -> None:
    logits = RNG.normal(size=(10, 4))
    after = tempered(logits, temperature)
    np.testing.assert_allclose(np.exp(after).sum(axis=1), 1)
    assert np.array_equal(after.argsort(axis=1), logits.argsort(axis=1))


def test_the_log_loss_is_a_weighted_mean() -> None:
    proba = np.array([[0.5, 0.5], [0.9, 0.1]])
    loss = log_loss(np.log(proba), np.array([0, 1]), np.array([1.0, 3.0]))
    assert loss == pytest.approx(-(np.log(0.5) + 3 * np.log(0.1)) / 4)
