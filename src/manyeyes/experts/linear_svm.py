"""Linear support vector machines (squared hinge, L2, one against the rest), on all columns or on principal components.

The paper's rows all+SVM and all+PCA+SVM ("All Together Now!", table 2), with the cost chosen by inner cross-validation
and a temperature that makes probabilities of out-of-fold scores. On blocks that are L2-normalised and centred they are
more accurate than on raw or standardised ones (flowers17, eleven backbones: 98.0% against 96.5% and 96.8%);
RawLinearSvm is there because the paper's is raw.
"""

from functools import partialmethod
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_consistent_length, validate_data

from manyeyes.experts import ClassWeight, FloatArray, Groups
from manyeyes.experts.descent import descend
from manyeyes.experts.folds import Rows, folds, judged, tuning_folds
from manyeyes.experts.linear import LinearExpert, Opinion, calibrated
from manyeyes.experts.row_space import RowSpace
from manyeyes.experts.squared_hinge import fit_squared_hinge
from manyeyes.experts.weights import class_weights

# What a row short of its margin costs, in units of 1 / the rows' variance: from very soft to hard. With 100 among
# them it took twice as long, and accuracies on four sets of photos moved by about 0.1 points at most.
COSTS = (0.1, 1.0, 10.0)
# Where the search begins.
START = {"cost": 1.0}


class LinearSvm(LinearExpert):
    """Linear support vector machine with calibrated probabilities; the loss is that of scikit-learn's LinearSVC.

    Parameters
    ----------
    blocks : widths of the blocks, side by side in X; None for a single block.
    scaling : "unit" for each block L2-normalised, then centred; "raw" for the columns as they are.
    components : no more principal components than this, found anew on each fold's training rows; None to find none.
    C : what a row short of its margin costs, or None to choose it among three, each ten times the one before.
    class_weight : None, "balanced", or a dict class → weight.
    cv : folds of the inner cross-validation, which also gives ``out_of_fold_``.
    random_state : seed of the folds.

    Attributes
    ----------
    classes_ : (C,), sorted.
    coef_, intercept_ : (C, D) and (C,), for scaled blocks.
    C_, temperature_ : the cost that was used; divisor of the scores.
    out_of_fold_ : (n, C) log-probabilities of the training rows, each from the folds that did not hold it.

    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0], [0.1, 1.0]])
    >>> LinearSvm(cv=2).fit(X, ["east", "east", "north", "north"]).predict([[2.0, 0.1]]).tolist()
    ['east']
    """

    def __init__(
        self,
        blocks: tuple[int, ...] | None = None,
        scaling: str = "unit",
        components: int | None = None,
        C: float | None = None,
        class_weight: ClassWeight = None,
        cv: int = 5,
        random_state: int = 0,
    ) -> None:
        self.blocks = blocks
        self.scaling = scaling
        self.components = components
        self.C = C
        self.class_weight = class_weight
        self.cv = cv
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Groups | None = None) -> Self:
        """Learn from (n, D) and labels (n,); inner folds keep rows of one of ``groups`` (n,) together.

        Raises ValueError for an unknown scaling.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        labels = self._learn_classes(y)
        check_consistent_length(X, groups)
        weights = class_weights(self.class_weight, self.classes_, labels)
        judges = weights * judged(labels, groups)
        scaled = self._rows(X)
        space = RowSpace.of(scaled, np.zeros(X.shape[1]) if self.scaling == "raw" else scaled.mean(axis=0))
        splits = list(folds(labels, self.cv, self.random_state, groups))
        problem = _Problem(space.rows, labels, weights, judges, splits, self.components)

        self.C_ = problem.best_cost() if self.C is None else self.C
        best = problem.opinion(self.C_, len(splits))
        self.temperature_, self.out_of_fold_ = best.temperature, best.log_proba
        self.coef_, self.intercept_ = space.on_columns(*problem.solution(self.C_))
        return self

    def _rows(self, X: npt.NDArray[np.floating]) -> FloatArray:
        if self.scaling not in ("unit", "raw"):
            raise ValueError(f"scaling is 'unit' or 'raw', not {self.scaling!r}")
        return super()._rows(X) if self.scaling == "unit" else X.astype(np.float64)


class RawLinearSvm(LinearSvm):
    """Linear support vector machine on the columns as they are, where one backbone may outshout another."""

    __init__ = partialmethod(LinearSvm.__init__, scaling="raw")


class PcaLinearSvm(LinearSvm):
    """Linear support vector machine on the paper's 1,000 principal components, or on all where there are fewer."""

    __init__ = partialmethod(LinearSvm.__init__, components=1000)


class _Problem:
    """Rows (n, r) with their labels, and what they count (n,) when they are learnt from and when they judge."""

    def __init__(
        self,
        rows: FloatArray,
        labels: Rows,
        weights: FloatArray,
        judges: FloatArray,
        splits: list[tuple[Rows, Rows]],
        components: int | None,
    ) -> None:
        self._rows, self._labels, self._weights, self._judges = rows, labels, weights, judges
        self._splits, self._components = splits, components
        self._classes = int(labels.max()) + 1
        self._principals = [self._principal(train) for train, _ in splits]
        self._held_scores: dict[tuple[float, int], FloatArray] = {}

    def best_cost(self) -> float:
        unit = 1 / (float(self._rows.var(axis=0).sum()) or 1.0)
        enough = tuning_folds(self._splits, self._judges)
        return unit * descend(lambda cost: self.opinion(cost * unit, enough).loss, {"cost": COSTS}, START)["cost"]

    def opinion(self, C: float, count: int) -> Opinion:
        """By the first ``count`` folds, judged on the rows that they hold out; nothing is said of any other row."""
        scores = np.zeros((len(self._rows), self._classes))
        judges = np.zeros_like(self._judges)
        for fold, (_, held) in enumerate(self._splits[:count]):
            scores[held] = self._of_held(C, fold)
            judges[held] = self._judges[held]
        return calibrated(scores, self._labels, judges if count else self._judges)

    def solution(self, C: float) -> tuple[FloatArray, FloatArray]:
        """Weights (C, r) and intercepts (C,) from all rows."""
        every = np.arange(len(self._rows))
        return self._solve(C, every, self._principal(every))

    def _of_held(self, C: float, fold: int) -> FloatArray:
        if (C, fold) not in self._held_scores:
            train, held = self._splits[fold]
            coef, intercept = self._solve(C, train, self._principals[fold])
            self._held_scores[C, fold] = self._rows[held] @ coef.T + intercept
        return self._held_scores[C, fold]

    def _solve(self, C: float, some: Rows, principal: RowSpace | None) -> tuple[FloatArray, FloatArray]:
        rows = self._rows[some] if principal is None else principal.rows
        found = fit_squared_hinge(rows, self._labels[some], self._classes, C * self._weights[some])
        return found if principal is None else principal.on_columns(*found)

    def _principal(self, some: Rows) -> RowSpace | None:
        if self._components is None:
            return None
        rows = self._rows[some]
        return RowSpace.of(rows, rows.mean(axis=0)).strongest(self._components)
