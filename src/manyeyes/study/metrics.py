"""How good predictions are: how often right, how fairly over classes, and how much their probabilities mean."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import f1_score

from manyeyes.experts import FloatArray

BINS = 15
# A probability that is rounded to zero would make the log loss infinite whatever the other photos say.
LOG_LEAST = float(np.log(1e-15))

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scores:
    """accuracy, macro_f1 and calibration_error in [0, 1]; log_loss in nats; photos: how many were judged."""

    accuracy: float
    macro_f1: float
    log_loss: float
    calibration_error: float
    photos: int


def score(log_proba: FloatArray, labels: Labels) -> Scores:
    """Scores of log-probabilities (n, C) against true class indices (n,)."""
    of_truth = log_proba[np.arange(len(labels)), labels]
    return score_answers(log_proba.argmax(axis=1), of_truth, np.exp(log_proba.max(axis=1)), labels)


def score_answers(predicted: Labels, of_truth: FloatArray, confidence: FloatArray, labels: Labels) -> Scores:
    """Scores of predicted classes (n,), the true classes' log-probabilities (n,) and the predicted ones' probability.

    Macro F1 is over the classes that are present among the labels or the predictions.
    """
    return Scores(
        accuracy=float((predicted == labels).mean()),
        macro_f1=float(f1_score(labels, predicted, average="macro", zero_division=0)),
        log_loss=float(-np.maximum(of_truth, LOG_LEAST).mean()),
        calibration_error=calibration_error(confidence, predicted == labels),
        photos=len(labels),
    )


def calibration_error(confidence: FloatArray, is_right: npt.NDArray[np.bool_]) -> float:
    """Expected calibration error: mean gap between confidence and accuracy over 15 bins of equal width."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    gaps = np.abs(np.bincount(bins, confidence - is_right, minlength=BINS))
    return float(gaps.sum() / max(counts.sum(), 1))
