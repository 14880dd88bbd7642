"""Ridge regression on one-hot targets in closed form: tuned by leave-one-out, with calibrated probabilities.

With rows weighed by w, centred, along the principal axes of √w · rows (n, r), whose sums of squares are v, the hat
matrix of strength λ in the units of √w · targets is

    H = U diag(v / (v + λ)) Uᵀ + √w √wᵀ / Σw,   U = √w · rows / √v,

its last term that of the intercept, which is not penalised. The rows G of a group, or the only one, get from all others
exactly Y_G - (I - H_GG)⁻¹ (Y_G - (H Y)_G). One eigendecomposition serves all strengths.
"""

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_consistent_length, validate_data

from manyeyes.experts import ClassWeight, FloatArray, Groups
from manyeyes.experts.folds import judged
from manyeyes.experts.leave_out import rows_of_each_group
from manyeyes.experts.linear import LinearExpert, calibrated
from manyeyes.experts.row_space import RowSpace
from manyeyes.experts.weights import class_weights

# In units of the rows' variance.
STRENGTHS = tuple(float(strength) for strength in 10.0 ** np.arange(-4.0, 3.0, 0.5))


class Ridge(LinearExpert):
    """Ridge classifier on L2-normalised blocks, with leave-one-out tuning.

    Parameters
    ----------
    blocks : widths of the blocks, side by side in X; None for a single block.
    class_weight : None, "balanced", or a dict class → weight.
    random_state : not used; nothing is random.

    Attributes
    ----------
    classes_ : (C,), sorted.
    coef_, intercept_ : (C, D) and (C,), for normalised blocks.
    strength_, temperature_ : the penalty on |coef|² beside the rows' weighted squared errors; divisor of the scores.
    out_of_fold_ : (n, C) leave-one-out log-probabilities of the training rows.

    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0], [0.1, 1.0]])
    >>> Ridge().fit(X, ["east", "east", "north", "north"]).predict([[2.0, 0.1]]).tolist()
    ['east']
    """

    def __init__(
        self, blocks: tuple[int, ...] | None = None, class_weight: ClassWeight = None, random_state: int = 0
    ) -> None:
        self.blocks = blocks
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Groups | None = None) -> Self:
        """Learn from (n, D) and labels (n,); with ``groups`` (n,), whole groups are left out when tuning."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        labels = self._learn_classes(y)
        check_consistent_length(X, groups)
        weights = class_weights(self.class_weight, self.classes_, labels)
        judges = weights * judged(labels, groups)
        targets = np.eye(len(self.classes_))[labels]
        rows = self._rows(X)
        problem = _Problem(rows, targets, weights, groups)

        unit = problem.variance or 1.0
        opinions = {
            strength * unit: calibrated(problem.left_out(strength * unit), labels, judges) for strength in STRENGTHS
        }
        self.strength_ = min(opinions, key=lambda strength: opinions[strength].loss)
        best = opinions[self.strength_]
        self.temperature_, self.out_of_fold_ = best.temperature, best.log_proba
        self.coef_, self.intercept_ = problem.solution(self.strength_)
        return self


class _Problem:
    """Rows (n, D) to regress targets (n, C) on; rows count as weighed (n,), and are left out by group."""

    def __init__(self, rows: FloatArray, targets: FloatArray, weights: FloatArray, groups: Groups | None) -> None:
        # A class of no weight is still to be judged.
        self._root = np.sqrt(np.maximum(weights, 1e-12))[:, None]
        self._mean = np.average(rows, axis=0, weights=weights)
        self._centre = np.average(targets, axis=0, weights=weights)
        self._space = RowSpace.of(self._root * (rows - self._mean), np.zeros(rows.shape[1]))
        self._targets = self._root * targets
        self._moment = self._space.rows.T @ self._targets
        self._share = self._root / np.sqrt(weights.sum())
        self._together = rows_of_each_group(groups)
        self.variance = float(self._space.spectrum.sum()) / len(rows)

    def left_out(self, strength: float) -> FloatArray:
        """What all others say of each row, or of each group's rows: (n, C)."""
        rows = self._space.rows
        shrunk = rows / (self._space.spectrum + strength)
        missed = self._targets - shrunk @ self._moment - self._root * self._centre
        own = np.einsum("ij,ij->i", shrunk, rows)[:, None] + self._share**2
        missed_alone = missed / np.maximum(1 - own, 1e-9)
        for group in self._together:
            hat = shrunk[group] @ rows[group].T + self._share[group] * self._share[group].T
            missed_alone[group] = np.linalg.solve((1 + 1e-9) * np.eye(len(group)) - hat, missed[group])
        outputs: FloatArray = (self._targets - missed_alone) / self._root
        return outputs

    def solution(self, strength: float) -> tuple[FloatArray, FloatArray]:
        """Weights (C, D) and intercepts (C,)."""
        coef, _ = self._space.on_columns(
            (self._moment / (self._space.spectrum + strength)[:, None]).T, np.zeros(len(self._centre))
        )
        return coef, self._centre - coef @ self._mean
