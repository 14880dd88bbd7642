"""RBF kernel ridge over several blocks at once, tuned in closed form by leave-one-out, with calibrated probabilities.

Each block is signed-square-rooted (second-order blocks are roots already) and L2-normalised; the squared distance is
the mean of the blocks' squared distances, so that no block outshouts another, and between taps a weighted mean whose
weight is tuned with the kernel's width and the ridge's strength. One-hot targets, centred by the class shares, are
regressed on the kernel, and a temperature makes the outputs probabilities. With more rows than ``landmarks`` the kernel
is tuned on them and approximated from them (Nyström).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from manyeyes.backbones.nets import FINAL
from manyeyes.experts import ClassWeight, FloatArray, Groups
from manyeyes.experts.calibration import fit_temperature, log_loss, tempered
from manyeyes.experts.classifier import LogProbaClassifier
from manyeyes.experts.descent import descend
from manyeyes.experts.folds import judged
from manyeyes.experts.kernels import Rows, prepare, squared_distances, tap_distances, weighted_mean
from manyeyes.experts.leave_out import RowsOfGroups, rows_of_each_group, solve_leaving_out, solve_on_landmarks
from manyeyes.experts.weights import class_weights

# Widths in units of the median squared distance; a wide kernel is all but linear.
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
# Ridge strengths, for a kernel of the median width, in units of its diagonal (1); a wide kernel's signal is fainter.
STRENGTHS = tuple(float(strength) for strength in 10.0 ** np.arange(-3.0, 1.5, 0.5))
# What a block of another tap counts, in units of a final one. Nothing is among them: few photos may want that.
TAP_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
# Squared distances below this are those of copies, up to rounding.
NEAR = 1e-5
# Where the search begins: at what is most often best.
START = {"width": 2.0, "strength": STRENGTHS[2], "tap_weight": 1.0}


class KernelRidge(LogProbaClassifier):
    """RBF kernel ridge classifier with leave-one-out tuning.

    Parameters
    ----------
    blocks : widths of the blocks, side by side in X; None for a single block.
    taps : for each block the tap it was read at; None when all are final features.
    class_weight : None, "balanced", or a dict class → weight.
    landmarks : rows that span the kernel; with no more rows than that it is exact.
    random_state : seed of the choice of landmarks.

    Attributes
    ----------
    classes_ : (C,), sorted.
    gamma_, strength_, temperature_ : kernel exp(-gamma d²), ridge strength, divisor of the outputs.
    tap_shares_ : of each tap in d², in the order in which the taps first occur.
    landmarks_, coef_, intercept_ : (m, D) float16 prepared rows, (m, C), (C,).
    out_of_fold_ : (n, C) leave-one-out log-probabilities of the training rows.

    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0], [0.1, 1.0]])
    >>> KernelRidge().fit(X, ["east", "east", "north", "north"]).predict([[2.0, 0.1]]).tolist()
    ['east']
    """

    def __init__(
        self,
        blocks: tuple[int, ...] | None = None,
        taps: tuple[str, ...] | None = None,
        class_weight: ClassWeight = None,
        landmarks: int = 3000,
        random_state: int = 0,
    ) -> None:
        self.blocks = blocks
        self.taps = taps
        self.class_weight = class_weight
        self.landmarks = landmarks
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Groups | None = None) -> Self:
        """Learn from (n, D) and labels (n,); with ``groups`` (n,), whole groups are left out when tuning."""
        X, y = validate_data(self, X, y, dtype=[np.float32, np.float64])
        labels = self._learn_classes(y)
        check_consistent_length(X, groups)
        weights = class_weights(self.class_weight, self.classes_, labels)
        judges = weights * judged(labels, groups)
        targets = np.eye(len(self.classes_))[labels]
        self.intercept_: FloatArray = np.average(targets, axis=0, weights=weights)
        problem = _Problem(targets - self.intercept_, self.intercept_, labels, weights, judges, groups)

        rows = prepare(X, *self._layout(X.shape[1]))
        chosen = self._choose_landmarks(len(rows))
        # What a bundle keeps; a rounding of half a thousandth changes no prediction.
        self.landmarks_ = rows[chosen].astype(np.float16)
        between = self._distances(self.landmarks_.astype(np.float32))
        self._tune(between, problem.select(chosen))
        if len(rows) == len(chosen):
            outputs, self.coef_ = problem.solve(self._kernel(between), self.strength_)
        else:
            to_landmarks = self._kernel(self._distances(rows))
            outputs, self.coef_ = solve_on_landmarks(
                to_landmarks, self._kernel(between), problem.targets, self.strength_, weights, problem.together
            )
        self.temperature_, self.out_of_fold_ = problem.calibrated(outputs)
        return self

    def predict_log_proba(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float32, np.float64])
        return self._log_proba(self._distances(prepare(X, *self._layout(X.shape[1]))))

    def log_proba_without(self, X: Any, block: int) -> FloatArray:
        """Log-probabilities (n, C) if the block of this index said nothing: it is as far from every landmark."""
        check_is_fitted(self)
        widths, taps = self._layout(X.shape[1])
        rows = prepare(X, widths, taps)
        columns = np.split(np.arange(X.shape[1]), np.cumsum(widths)[:-1])[block]
        distances = self._distances(rows)
        own = squared_distances(rows[:, columns], self.landmarks_[:, columns].astype(np.float32))
        distances[list(dict.fromkeys(taps)).index(taps[block])] += own.mean(axis=1, keepdims=True) - own
        return self._log_proba(distances)

    def _log_proba(self, distances: list[Rows]) -> FloatArray:
        return tempered(self._kernel(distances) @ self.coef_ + self.intercept_, self.temperature_)

    def _layout(self, columns: int) -> tuple[tuple[int, ...], tuple[str, ...]]:
        widths = self.blocks or (columns,)
        if sum(widths) != columns:
            raise ValueError(f"blocks {widths} want {sum(widths)} columns, X has {columns}")
        return widths, self.taps or (FINAL,) * len(widths)

    def _choose_landmarks(self, count: int) -> npt.NDArray[np.int64]:
        if count <= self.landmarks:
            return np.arange(count)
        return np.sort(np.random.default_rng(self.random_state).choice(count, self.landmarks, replace=False))

    def _distances(self, rows: Rows) -> list[Rows]:
        """For each tap the squared distances of prepared rows to the landmarks."""
        return tap_distances(rows, self.landmarks_.astype(np.float32), *self._layout(rows.shape[1]))

    def _kernel(self, distances: list[Rows]) -> FloatArray:
        mean = weighted_mean(distances, self.tap_shares_)
        kernel: FloatArray = np.exp(np.multiply(mean, -self.gamma_, dtype=np.float64))
        return kernel

    def _tune(self, distances: list[Rows], problem: "_Problem") -> None:
        """Choose width, strength and the taps' weights by leave-one-out log loss."""
        axes = {"width": WIDTHS, "strength": STRENGTHS, "tap_weight": TAP_WEIGHTS if len(distances) > 1 else (1.0,)}

        def loss(**point: float) -> float:
            self._set(distances, **point)
            outputs, _ = problem.solve(self._kernel(distances), self.strength_)
            return log_loss(problem.calibrated(outputs)[1], problem.labels, problem.judges)

        self._set(distances, **descend(loss, axes, START))

    def _set(self, distances: list[Rows], width: float, strength: float, tap_weight: float) -> None:
        shares = np.array([1.0] + [tap_weight] * (len(distances) - 1))
        self.tap_shares_: FloatArray = shares / shares.sum()
        # The median of some tells that of all.
        some = slice(None, None, len(distances[0]) // 500 + 1)
        mean = weighted_mean([one[some] for one in distances], self.tap_shares_)
        apart = mean[mean > NEAR]
        self.gamma_ = 1 / (width * (float(np.median(apart)) if len(apart) else 1.0))
        self.strength_ = strength / width


@dataclass(frozen=True)
class _Problem:
    """What the kernel is to be regressed on, (n, C), and how that is judged; ``judges`` and ``weights`` are (n,)."""

    targets: FloatArray
    intercept: FloatArray
    labels: npt.NDArray[np.int64]
    weights: FloatArray
    judges: FloatArray
    groups: Groups | None

    @cached_property
    def together(self) -> RowsOfGroups:
        return rows_of_each_group(self.groups)

    def select(self, rows: npt.NDArray[np.int64]) -> "_Problem":
        groups = None if self.groups is None else self.groups[rows]
        judges = self.judges[rows]
        # A few landmarks may all be of classes that cannot be judged.
        judges = judges if judges.any() else np.ones(len(rows))
        return _Problem(self.targets[rows], self.intercept, self.labels[rows], self.weights[rows], judges, groups)

    def solve(self, kernel: FloatArray, strength: float) -> tuple[FloatArray, FloatArray]:
        return solve_leaving_out(kernel, self.targets, strength, self.weights, self.together)

    def calibrated(self, outputs: FloatArray) -> tuple[float, FloatArray]:
        """The temperature of left-out outputs, and the log-probabilities that it makes of them."""
        temperature = fit_temperature(outputs + self.intercept, self.labels, self.judges)
        return temperature, tempered(outputs + self.intercept, temperature)
