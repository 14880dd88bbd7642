import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from manyeyes.study.metrics import BINS, Scores, calibration_error, score

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def opinions() -> tuple[np.ndarray, np.ndarray]:
    proba = RNG.dirichlet(np.ones(4), 300)
    return np.log(proba), RNG.integers(0, 4, 300)


def test_scores_are_those_of_scikit_learn(opinions: tuple[np.ndarray, np.ndarray]) -> None:
    log_proba, labels = opinions
    predicted = log_proba.argmax(axis=1)
    found = score(log_proba, labels)
    assert found.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found.log_loss == pytest.approx(-log_proba[range(300), labels].mean())
    assert found.photos == 300


def test_calibration_error_by_hand(opinions: tuple[np.ndarray, np.ndarray]) -> None:
    log_proba, labels = opinions
    confidence, is_right = np.exp(log_proba.max(axis=1)), log_proba.argmax(axis=1) == labels
    by_hand = 0.0
    for low in range(BINS):
        members = [i for i in range(300) if low / BINS <= confidence[i] < (low + 1) / BINS]
        if members:
            gap = abs(np.mean([confidence[i] for i in members]) - np.mean([is_right[i] for i in members]))
            by_hand += len(members) / 300 * gap
    assert calibration_error(confidence, is_right) == pytest.approx(by_hand)
    assert score(log_proba, labels).calibration_error == pytest.approx(by_hand)


def test_confidence_that_is_deserved_has_no_calibration_error() -> None:
    # Both fall into the same bin, where they are right as often as they say on average.
    assert calibration_error(np.array([0.74, 0.76] * 2), np.array([True, True, True, False])) == pytest.approx(0)
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0


def test_gaps_in_different_bins_do_not_cancel() -> None:
    # Too sure by 0.9 in one half, too timid by 0.5 in the other.
    assert calibration_error(np.array([0.9, 0.5]), np.array([False, True])) == pytest.approx(0.7)


def test_full_confidence_falls_into_the_last_bin() -> None:
    # One bin of two: said 0.975 on average, right half the time.
    assert calibration_error(np.array([1.0, 0.95]), np.array([False, True])) == pytest.approx(0.475)


def test_perfect_predictions() -> None:
    with np.errstate(divide="ignore"):
        assert score(np.log(np.eye(3)), np.arange(3)) == Scores(1.0, 1.0, 0.0, 0.0, 3)


def test_the_worst_predictions_have_a_finite_loss() -> None:
    with np.errstate(divide="ignore"):
        worst = score(np.log(np.eye(3)), np.array([1, 2, 0]))
    assert (worst.accuracy, worst.macro_f1, worst.calibration_error) == (0.0, 0.0, 1.0)
    assert worst.log_loss == pytest.approx(-np.log(1e-15))


def test_a_class_without_photos_counts_only_when_it_is_predicted() -> None:
    confident = np.log(np.full((3, 3), 0.05) + 0.85 * np.eye(3))
    two_classes = confident[[0, 0, 1, 1]]
    assert score(two_classes, np.array([0, 0, 1, 1])).macro_f1 == 1
    # Class 0: F1 1. Class 1: precision 1, recall 1/2, F1 2/3. Class 2: predicted once, never there, F1 0.
    assert score(confident[[0, 0, 1, 2]], np.array([0, 0, 1, 1])).macro_f1 == pytest.approx((1 + 2 / 3) / 3)


def test_one_photo_can_be_judged() -> None:
    found = score(np.log(np.array([[0.2, 0.8]])), np.array([1]))
    assert found.accuracy == 1 and found.calibration_error == pytest.approx(0.2) and found.photos == 1
