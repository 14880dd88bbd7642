"""Temperature scaling: one number that makes probabilities mean what they say (Guo et al., 2017, arXiv 1706.04599)."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from manyeyes.experts import FloatArray

# Wide enough for the raw outputs of a ridge regression (0.01) and for overconfident logits (10).
BOUNDS = (0.003, 20.0)


def tempered(logits: FloatArray, temperature: float) -> FloatArray:
    """Log-probabilities of logits (or log-probabilities) divided by the temperature: (n, C)."""
    log_proba: FloatArray = log_softmax(logits / temperature, axis=1)
    return log_proba


def log_loss(log_proba: FloatArray, labels: npt.NDArray[np.int64], weights: FloatArray) -> float:
    """Weighted mean of ``-log p(label)``, in nats."""
    return float(-np.average(log_proba[np.arange(len(labels)), labels], weights=weights))


def fit_temperature(logits: FloatArray, labels: npt.NDArray[np.int64], weights: FloatArray) -> float:
    """The temperature of least log loss on rows that whatever gave the (n, C) logits had not learnt from.

    One row's worth of belief that the label could be any class is added to the n rows (as Platt, 1999, smooths his
    targets): where all n are right, the probabilities come out as sure as n rows can make one, not as sure as can be.
    """
    any_class = 1 / (float(weights.sum()) + 1)

    def loss(log_temperature: float) -> float:
        log_proba = tempered(logits, np.exp(log_temperature))
        of_any_class = -float(np.average(log_proba.mean(axis=1), weights=weights))
        return (1 - any_class) * log_loss(log_proba, labels, weights) + any_class * of_any_class

    found = minimize_scalar(
        loss,
        bounds=np.log(BOUNDS),
        method="bounded",
        options={"xatol": 0.01},
    )
    return float(np.exp(found.x))
