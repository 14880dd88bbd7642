"""The paper's expert: L2-regularised softmax regression, ``c(h) = softmax(U h + b)`` ("All Together Now!", sec. 3)."""

import warnings
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from manyeyes.experts import ClassWeight, FloatArray, Groups
from manyeyes.experts.calibration import log_loss
from manyeyes.experts.classifier import LogProbaClassifier
from manyeyes.experts.descent import descend
from manyeyes.experts.folds import Rows, folds, judged, spread_to_all_classes, tuning_folds
from manyeyes.experts.row_space import RowSpace
from manyeyes.experts.scaling import column_scales
from manyeyes.experts.weights import class_weights

# From too strong to too weak for standardised columns of any backbone seen so far; the best is most often 1 to 10.
STRENGTHS = tuple(float(strength) for strength in 10.0 ** np.arange(-3.0, 2.5, 0.5))
# The middle of what is most often best: the search goes up or down from here.
START = STRENGTHS[6]
# Multiply-adds of one pass over the rows below which one thread is fastest.
SMALL = 1e8


class SoftmaxRegression(LogProbaClassifier):
    """Softmax regression on standardised columns, its L2 strength chosen by inner cross-validated log loss.

    Columns are brought to mean 0 and, unless they vary less than the median column of their block, to standard
    deviation 1: a column all but dead on few training photos would else be stretched beyond all measure on new ones.

    Parameters
    ----------
    blocks : widths of the blocks, side by side in X; None for a single block. Columns of a block share their unit.
    C : inverse strength of the penalty, or None to choose it among eleven values from 0.001 to 100.
    class_weight : None, "balanced", or a dict class → weight.
    cv : folds of the inner cross-validation, which also gives ``out_of_fold_``.
    random_state : seed of the folds.

    Attributes
    ----------
    classes_ : (C,), sorted.
    coef_, intercept_ : (C, D) and (C,), for the raw (not standardised) columns.
    C_ : the inverse strength that was used.
    out_of_fold_ : (n, C) log-probabilities of the training rows, each from the folds that did not hold it.

    >>> import numpy as np
    >>> X = np.array([[0.0], [0.2], [0.9], [1.1]])
    >>> SoftmaxRegression(cv=2).fit(X, ["no", "no", "yes", "yes"]).predict([[0.1], [1.0]]).tolist()
    ['no', 'yes']
    """

    def __init__(
        self,
        blocks: tuple[int, ...] | None = None,
        C: float | None = None,
        class_weight: ClassWeight = None,
        cv: int = 5,
        random_state: int = 0,
    ) -> None:
        self.blocks = blocks
        self.C = C
        self.class_weight = class_weight
        self.cv = cv
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Groups | None = None) -> Self:
        """Learn from (n, D) and labels (n,); inner folds keep rows of one of ``groups`` (n,) together."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        labels = self._learn_classes(y)
        weights = class_weights(self.class_weight, self.classes_, labels)
        mean = X.mean(axis=0, dtype=np.float64)
        centred = X - mean
        scale = column_scales(centred, mean, self.blocks or (X.shape[1],))
        standard = centred / scale
        space = RowSpace.of(standard, np.zeros(X.shape[1])) if X.shape[0] < X.shape[1] else None

        # Single precision halves the time; the solver's tolerance is far above its rounding.
        rows: npt.NDArray[np.float32] = (standard if space is None else space.rows).astype(np.float32)
        splits = [
            (train, held)
            for train, held in folds(labels, self.cv, self.random_state, groups)
            if len(np.unique(labels[train])) > 1
        ]
        opinions = _Opinions(rows, labels, weights, splits, len(self.classes_))
        judges = weights * judged(labels, groups)
        self.C_ = _choose(opinions, judges) if self.C is None else self.C
        self.out_of_fold_: FloatArray = opinions.of(self.C_, len(splits))

        coef, intercept = _as_softmax(_fit(rows, labels, weights, self.C_))
        if space is not None:
            coef, intercept = space.on_columns(coef, intercept)
        self.coef_ = coef / scale
        self.intercept_ = intercept - self.coef_ @ mean
        return self

    def seat(self, coef: FloatArray, intercept: FloatArray, classes: npt.NDArray[Any]) -> Self:
        """Be the regression with these numbers, (C, D) and (C,) for raw columns, which were found elsewhere."""
        self.coef_, self.intercept_ = coef, intercept
        self.classes_, self.n_features_in_ = classes, coef.shape[1]
        return self

    def predict_log_proba(self, X: Any) -> FloatArray:
        log_proba: FloatArray = log_softmax(self._logits(X), axis=1)
        return log_proba

    def _logits(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        logits: FloatArray = X @ self.coef_.T + self.intercept_
        return logits


class _Opinions:
    """Held-out rows' log-probabilities by fold and strength, each found when it is first asked for."""

    def __init__(
        self,
        rows: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        weights: FloatArray,
        splits: list[tuple[Rows, Rows]],
        classes: int,
    ) -> None:
        self._rows, self.labels, self._weights = rows, labels, weights
        self.splits, self._classes = splits, classes
        self._known: dict[tuple[float, int], FloatArray] = {}

    def of(self, strength: float, count: int) -> FloatArray:
        """(n, C) from the first ``count`` folds; uniform for rows that none of them holds out."""
        opinion = np.full((len(self.labels), self._classes), -np.log(self._classes))
        for fold, (_, held) in enumerate(self.splits[:count]):
            opinion[held] = self._of_fold(strength, fold)
        return opinion

    def _of_fold(self, strength: float, fold: int) -> FloatArray:
        if (strength, fold) not in self._known:
            train, held = self.splits[fold]
            fitted = _fit(self._rows[train], self.labels[train], self._weights[train], strength)
            coef, intercept = _as_softmax(fitted)
            # Not by predict_log_proba, which is -inf where a probability rounds to zero.
            log_proba = log_softmax((self._rows[held] @ coef.T + intercept).astype(np.float64), axis=1)
            self._known[strength, fold] = spread_to_all_classes(log_proba, fitted.classes_, self._classes)
        return self._known[strength, fold]


def _choose(opinions: _Opinions, judges: FloatArray) -> float:
    """The strength of least log loss on as many folds as hold out enough rows to tell."""
    count = tuning_folds(opinions.splits, judges)
    held = np.concatenate([np.arange(0), *(held for _, held in opinions.splits[:count])])
    if not judges[held].any():
        return START

    def loss(C: float) -> float:
        return log_loss(opinions.of(C, count)[held], opinions.labels[held], judges[held])

    return descend(loss, {"C": STRENGTHS}, {"C": START})["C"]


def _fit(
    rows: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], weights: FloatArray, strength: float
) -> LogisticRegression:
    # On small problems several threads of the BLAS wait for one another longer than they work.
    threads = 1 if rows.size * (labels.max() + 1) < SMALL else None
    with warnings.catch_warnings(), threadpool_limits(threads, "blas"):
        # The weakest penalties on separable rows have no near optimum; cross-validation passes them over.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes is greater", UserWarning)
        # Always from zero: a start at another strength's solution would end elsewhere within the tolerance, and
        # what is said out of fold would not be what the final model is like.
        return LogisticRegression(C=strength, max_iter=500).fit(rows, labels, sample_weight=weights)


def _as_softmax(fitted: LogisticRegression) -> tuple[FloatArray, FloatArray]:
    """(C, r) and (C,): the one row of the binary case becomes two of half the size."""
    if len(fitted.classes_) > 2:
        return fitted.coef_, fitted.intercept_
    half, bias = fitted.coef_ / 2, fitted.intercept_ / 2
    return np.concatenate([-half, half]), np.concatenate([-bias, bias])
