"""Logarithmic opinion pools: products of experts with learnt exponents, ``log f = Σ_k b_k log c_k + const``, b ≥ 0.

The log loss is convex in the exponents (Heskes, "Selecting weighting factors in logarithmic opinion pools", NIPS 1997),
so a few Newton steps find its least value. Exponents that differ are penalised, their sum is not: where the penalty is
strongest, the pool is the experts' normalised geometric mean at the best temperature.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular
from scipy.optimize import nnls
from scipy.special import log_softmax, logsumexp
from threadpoolctl import threadpool_limits

from manyeyes.experts import FloatArray, Groups
from manyeyes.experts.calibration import log_loss
from manyeyes.experts.folds import Rows
from manyeyes.fusion.held_out import hold_out

Labels = npt.NDArray[np.int64]

# Inverse variances of ``K b_k`` around its mean, from all but equal to twice or not at all; from strong to weak, so
# that each solution is a good start for the next. Weaker ones lost on average over five photo sets.
STRENGTHS = (100.0, 10.0, 1.0)
STEPS = 30
# Nats a photo that a step must promise to be taken.
TOLERANCE = 1e-7


@dataclass(frozen=True)
class LearntExponents:
    """What :func:`learn_exponents` found.

    values : (K,), none negative.
    strength : of the penalty that was chosen.
    held_out : (n, C) log-probabilities of the pool for each row, by exponents that were learnt without it.
    """

    values: FloatArray
    strength: float
    held_out: FloatArray


def pool(exponents: FloatArray, opinions: FloatArray) -> FloatArray:
    """``Σ_k b_k log c_k``, normalised: (n, C) from (K,) and log-probabilities (n, K, C)."""
    pooled: FloatArray = log_softmax(np.einsum("k,nkc->nc", exponents, opinions), axis=1)
    return pooled


def learn_exponents(
    opinions: FloatArray, labels: Labels, weights: FloatArray, groups: Groups | None = None, seed: int = 0
) -> LearntExponents:
    """Exponents for out-of-fold log-probabilities (n, K, C), with the penalty of least cross-validated log loss.

    ``weights`` (n,) count the rows; rows of one of ``groups`` (n,) are never on both sides of a fold.
    """
    equal = np.full(opinions.shape[1], 1 / opinions.shape[1])

    def predict(train: Rows, held: Rows) -> FloatArray:
        path = _fit_path(_Pool(opinions[train], labels[train], weights[train]), STRENGTHS)
        return np.stack([pool(exponents, opinions[held]) for exponents in path], axis=1)

    unlearnt = np.repeat(pool(equal, opinions)[:, None], len(STRENGTHS), axis=1)
    held_out = hold_out(labels, weights, groups, seed, unlearnt, predict)
    best = int(np.argmin([log_loss(held_out[:, s], labels, weights) for s in range(len(STRENGTHS))]))
    values = _fit_path(_Pool(opinions, labels, weights), STRENGTHS[: best + 1])[-1]
    return LearntExponents(values, STRENGTHS[best], held_out[:, best])


def fit_exponents(opinions: FloatArray, labels: Labels, weights: FloatArray, strength: float) -> FloatArray:
    """The exponents (K,) of least log loss on log-probabilities (n, K, C), under a penalty of this strength."""
    return _fit_path(_Pool(opinions, labels, weights), (strength,))[0]


def _fit_path(pooled: "_Pool", strengths: tuple[float, ...]) -> list[FloatArray]:
    """The exponents for each strength, each found from the one before."""
    path = [np.full(pooled.count, 1 / pooled.count)]
    # Matrices with K rows: threads of the BLAS would wait for one another longer than they work.
    with threadpool_limits(1, "blas"):
        for strength in strengths:
            path.append(_minimise(pooled, strength, path[-1]))
    return path[1:]


class _Pool:
    """The penalised log loss of a pool as a function of its exponents."""

    def __init__(self, opinions: FloatArray, labels: Labels, weights: FloatArray) -> None:
        rows, self.count, self._classes = opinions.shape
        self._flat = np.ascontiguousarray(opinions.transpose(1, 0, 2)).reshape(self.count, -1)
        self._shares = weights / weights.sum()
        # As in fit_temperature, one row's worth of belief in any class: where all rows are right, the exponents would
        # else grow without end.
        any_class = 1 / (weights.sum() + 1)
        of_truth = opinions[np.arange(rows), :, labels]
        self._of_truth = self._shares @ ((1 - any_class) * of_truth + any_class * opinions.mean(axis=2))
        # Σ_k (K b_k - mean)², the sum of squares of what the penalty's matrix makes of b.
        apart = self.count * (np.eye(self.count) - 1 / self.count)
        self._penalty = apart.T @ apart / weights.sum()

    def at(self, exponents: FloatArray, strength: float) -> tuple[float, FloatArray, FloatArray]:
        """Value, gradient (K,) and Hessian (K, K)."""
        logits = (exponents @ self._flat).reshape(-1, self._classes)
        norms = logsumexp(logits, axis=1)
        f = np.exp(logits - norms[:, None])
        weighted = self._flat * (f * self._shares[:, None]).ravel()
        expected = (self._flat * f.ravel()).reshape(self.count, *f.shape).sum(axis=2)
        second = weighted @ self._flat.T - (expected * self._shares) @ expected.T
        first = expected @ self._shares - self._of_truth
        pull = strength * self._penalty
        value = self._shares @ norms - self._of_truth @ exponents + exponents @ pull @ exponents / 2
        return float(value), first + pull @ exponents, second + pull


def _minimise(pooled: _Pool, strength: float, start: FloatArray) -> FloatArray:
    """Newton's method on b ≥ 0: each step is the non-negative least squares problem of the quadratic model."""
    exponents = start
    value, gradient, hessian = pooled.at(exponents, strength)
    for _ in range(STEPS):
        ridge = 1e-12 * np.trace(hessian) + 1e-12
        factor = np.linalg.cholesky(hessian + ridge * np.eye(len(hessian)))
        target, _ = nnls(factor.T, solve_triangular(factor, hessian @ exponents - gradient, lower=True))
        step = target - exponents
        promised = -gradient @ step
        if promised < TOLERANCE:
            break
        there = pooled.at(exponents + step, strength)
        while there[0] > value - 1e-4 * promised and promised > TOLERANCE:
            step, promised = step / 2, promised / 2
            there = pooled.at(exponents + step, strength)
        exponents = exponents + step
        value, gradient, hessian = there
    return exponents
