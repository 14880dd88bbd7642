"""Linear discriminant analysis, its covariance shrunk towards a ball as out-of-fold rows like it best.

The score of a row x for class c is x·Σ⁻¹μ_c - ½ μ_c·Σ⁻¹μ_c + log prior_c with Σ = (1 - s) S + s tr(S)/D I and S the
covariance within the classes: scikit-learn's, solved among the dimensions that the rows span instead of all D. Its
Gaussian probabilities are far too sure where columns are many; a temperature mends that.
"""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from sklearn.utils.validation import check_consistent_length, validate_data

from manyeyes.experts import ClassWeight, FloatArray, Groups
from manyeyes.experts.folds import folds, judged
from manyeyes.experts.linear import LinearExpert, calibrated
from manyeyes.experts.row_space import NOISE, RowSpace
from manyeyes.experts.weights import class_weights

# Variance of the ball, in units of the mean variance in the directions in which rows vary within classes.
BALLS = tuple(float(ball) for ball in 10.0 ** np.arange(-2.0, 1.5, 0.5))


class Lda(LinearExpert):
    """Shrinkage linear discriminant analysis on L2-normalised blocks, with calibrated probabilities.

    Parameters
    ----------
    blocks : widths of the blocks, side by side in X; None for a single block.
    shrinkage : from above 0 (the covariance as it is) to 1 (a ball), or None to choose it among seven.
    class_weight : None, "balanced", or a dict class → weight.
    cv : folds of the inner cross-validation, which also gives ``out_of_fold_``.
    random_state : seed of the folds.

    Attributes
    ----------
    classes_ : (C,), sorted.
    coef_, intercept_ : (C, D) and (C,), for normalised blocks.
    shrinkage_, temperature_ : the shrinkage that was used; divisor of the scores.
    out_of_fold_ : (n, C) log-probabilities of the training rows, each from the folds that did not hold it.

    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0], [0.1, 1.0]])
    >>> Lda(cv=2).fit(X, ["east", "east", "north", "north"]).predict([[2.0, 0.1]]).tolist()
    ['east']
    """

    def __init__(
        self,
        blocks: tuple[int, ...] | None = None,
        shrinkage: float | None = None,
        class_weight: ClassWeight = None,
        cv: int = 5,
        random_state: int = 0,
    ) -> None:
        self.blocks = blocks
        self.shrinkage = shrinkage
        self.class_weight = class_weight
        self.cv = cv
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Groups | None = None) -> Self:
        """Learn from (n, D) and labels (n,); inner folds keep rows of one of ``groups`` (n,) together.

        Raises ValueError for a shrinkage out of range.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        labels = self._learn_classes(y)
        check_consistent_length(X, groups)
        weights = class_weights(self.class_weight, self.classes_, labels)
        judges = weights * judged(labels, groups)
        scaled = self._rows(X)
        space = RowSpace.of(scaled, scaled.mean(axis=0))
        rows, (n, D), count = space.rows, X.shape, len(self.classes_)

        shrinkages = self._shrinkages(n, D)
        scores = {shrinkage: np.zeros((n, count)) for shrinkage in shrinkages}
        for train, held in folds(labels, self.cv, self.random_state, groups):
            scatter = _Scatter(rows[train], labels[train], weights[train], count, D)
            for shrinkage in shrinkages:
                coef, intercept = scatter.solution(shrinkage)
                said = rows[held] @ coef.T + intercept
                # Of a class that it has not seen it says what it says of the least likely one.
                said[:, scatter.is_absent] = said[:, ~scatter.is_absent].min(axis=1, keepdims=True)
                scores[shrinkage][held] = said
        opinions = {shrinkage: calibrated(scores[shrinkage], labels, judges) for shrinkage in shrinkages}
        self.shrinkage_ = min(opinions, key=lambda shrinkage: opinions[shrinkage].loss)
        best = opinions[self.shrinkage_]
        self.temperature_, self.out_of_fold_ = best.temperature, best.log_proba
        self.coef_, self.intercept_ = space.on_columns(
            *_Scatter(rows, labels, weights, count, D).solution(self.shrinkage_)
        )
        return self

    def _shrinkages(self, n: int, D: int) -> tuple[float, ...]:
        if self.shrinkage is not None:
            if not 0 < self.shrinkage <= 1:
                raise ValueError(f"shrinkage is above 0 and at most 1, not {self.shrinkage}")
            return (self.shrinkage,)
        # s/(1 - s) is in units of tr(S)/D, which the directions without variance make small.
        ratios = np.array(BALLS) * D / max(min(D, n - len(self.classes_)), 1)
        return tuple((ratios / (1 + ratios)).tolist())


class _Scatter:
    """Class means, and the covariance within classes, of rows (n, r) that stand for rows of ``columns`` columns."""

    def __init__(
        self, rows: FloatArray, labels: npt.NDArray[np.int64], weights: FloatArray, count: int, columns: int
    ) -> None:
        photos = np.bincount(labels, minlength=count)
        self.is_absent: npt.NDArray[np.bool_] = photos == 0
        self._means = np.eye(count)[labels].T @ rows / np.maximum(photos, 1)[:, None]
        apart = (rows - self._means[labels]) * np.sqrt(weights)[:, None]
        self._covariance = apart.T @ apart / weights.sum()
        within = float(np.trace(self._covariance))
        # Where no class has two photos that differ, nothing is known but how rows vary as a whole.
        self._ball = (within if within > NOISE else float(rows.var(axis=0).sum()) or 1.0) / columns
        share = np.bincount(labels, weights, count) / weights.sum()
        self._log_prior = np.log(np.maximum(share, np.finfo(np.float64).tiny))

    def solution(self, shrinkage: float) -> tuple[FloatArray, FloatArray]:
        """Weights (C, r) and intercepts (C,)."""
        shrunk = (1 - shrinkage) * self._covariance
        shrunk[np.diag_indices_from(shrunk)] += shrinkage * self._ball
        coef = cho_solve(cho_factor(shrunk, overwrite_a=True), self._means.T).T
        return coef, self._log_prior - np.einsum("ij,ij->i", coef, self._means) / 2
