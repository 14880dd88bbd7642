"""RBF kernel ridge on given distances, tuned in closed form by leave-one-out, with calibrated probabilities.

Distances come tap by tap; their weighted mean, whose weights are tuned with the kernel's width and the ridge's
strength, makes the kernel. One-hot targets, centred by the class shares, are regressed on it, and a temperature makes
the outputs probabilities. Where only some rows are landmarks the kernel is tuned on them and approximated from them
(Nyström).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from manyeyes.experts import ClassWeight, FloatArray, Groups
from manyeyes.experts.calibration import fit_temperature, log_loss, tempered
from manyeyes.experts.descent import descend
from manyeyes.experts.folds import judged
from manyeyes.experts.kernels import Rows, weighted_mean
from manyeyes.experts.leave_out import RowsOfGroups, rows_of_each_group, solve_leaving_out, solve_on_landmarks
from manyeyes.experts.weights import class_weights
from manyeyes.threads import one_thread

# Widths in units of the median squared distance; a wide kernel is all but linear.
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
# Ridge strengths, for a kernel of the median width, in units of its diagonal (1); a wide kernel's signal is fainter.
STRENGTHS = tuple(float(strength) for strength in 10.0 ** np.arange(-3.0, 1.5, 0.5))
# What another tap's distances count, in units of the first's. Nothing is among them: few photos may want that.
TAP_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
# Squared distances below this are those of copies, up to rounding.
NEAR = 1e-5
# Where the search begins: at what is most often best.
START = {"width": 2.0, "strength": STRENGTHS[2], "tap_weight": 1.0}
# With more rows the choice comes out the same, and takes longer by the cube.
TUNING_ROWS = 1000

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """What is to be told from the distances: n rows of C classes.

    targets, intercept : (n, C) one-hot less the class shares, (C,) these shares.
    labels, weights, judges : (n,) classes, and what each row counts in learning and in judging.
    groups : (n,) or None; rows of one group are left out together.
    """

    targets: FloatArray
    intercept: FloatArray
    labels: Index
    weights: FloatArray
    judges: FloatArray
    groups: Groups | None

    @classmethod
    def of(
        cls, classes: npt.NDArray[np.generic], labels: Index, class_weight: ClassWeight, groups: Groups | None
    ) -> "Problem":
        weights = class_weights(class_weight, classes, labels)
        targets = np.eye(len(classes))[labels]
        shares = np.average(targets, axis=0, weights=weights)
        return cls(targets - shares, shares, labels, weights, weights * judged(labels, groups), groups)

    @cached_property
    def together(self) -> RowsOfGroups:
        return rows_of_each_group(self.groups)

    def select(self, rows: Index) -> "Problem":
        groups = None if self.groups is None else self.groups[rows]
        judges = self.judges[rows] * judged(self.labels[rows], groups)
        return Problem(
            self.targets[rows],
            self.intercept,
            self.labels[rows],
            self.weights[rows],
            judges if judges.any() else np.ones(len(rows)),
            groups,
        )

    def calibrated(self, outputs: FloatArray) -> tuple[float, FloatArray]:
        """The temperature of left-out outputs, and the log-probabilities that it makes of them."""
        known = np.isfinite(outputs).all(axis=1)
        temperature = fit_temperature(outputs[known] + self.intercept, self.labels[known], self.judges[known])
        return temperature, tempered(outputs + self.intercept, temperature)


@dataclass(frozen=True)
class Distances:
    """Squared distances of n rows to m landmarks among them, tap by tap.

    near : for each tap (n, m).
    as_new : for each tap (m, m), the landmarks' distances to one another as each would have them were it no landmark;
        None where that makes no difference.
    landmarks : (m,) their indices.
    """

    near: Sequence[Rows]
    as_new: Sequence[Rows] | None
    landmarks: Index

    @property
    def are_all(self) -> bool:
        return len(self.near[0]) == len(self.landmarks)

    def some_between(self, some: Index) -> tuple[list[Rows], list[Rows] | None]:
        """Between some of the landmarks, by their place among them: ``near`` and ``as_new``."""
        near = [one[np.ix_(self.landmarks[some], some)] for one in self.near]
        return near, None if self.as_new is None else [one[np.ix_(some, some)] for one in self.as_new]


class DistanceRidge(BaseEstimator):  # type: ignore[misc]
    """RBF kernel ridge classifier on distances.

    Attributes
    ----------
    tap_shares_ : of each tap in the mean distance d².
    gamma_, strength_, temperature_ : kernel exp(-gamma d²), ridge strength, divisor of the outputs.
    coef_, intercept_ : (m, C) for the m landmarks, (C,).
    out_of_fold_ : (n, C) leave-one-out log-probabilities of the training rows, NaN where they would not be honest.
    loss_ : leave-one-out log loss where it was tuned, in nats.
    """

    def fit(self, distances: Distances, problem: Problem) -> Self:
        self._tune(distances, problem)
        near = self._kernel(distances.near)
        every = np.arange(len(distances.landmarks))
        as_new = None if distances.as_new is None else self._kernel(distances.as_new)
        if distances.are_all:
            outputs, self.coef_ = solve_leaving_out(
                near, problem.targets, self.strength_, problem.weights, problem.together, as_new
            )
        else:
            between = self._kernel(distances.some_between(every)[0])
            outputs, self.coef_ = solve_on_landmarks(
                near, between, problem.targets, self.strength_, problem.weights, problem.together
            )
            if as_new is not None:
                # The distances were learnt from these rows; the others are judges enough.
                outputs[distances.landmarks] = np.nan
        self.intercept_ = problem.intercept
        self.temperature_, self.out_of_fold_ = problem.calibrated(outputs)
        return self

    def log_proba(self, near: Sequence[Rows]) -> FloatArray:
        """Log-probabilities (p, C) of rows at these squared distances from the landmarks, (p, m) for each tap."""
        return tempered(self._kernel(near) @ self.coef_ + self.intercept_, self.temperature_)

    def _kernel(self, distances: Sequence[Rows]) -> FloatArray:
        mean = weighted_mean(distances, self.tap_shares_)
        kernel: FloatArray = np.exp(np.multiply(mean, -self.gamma_, dtype=np.float64))
        return kernel

    def _tune(self, distances: Distances, problem: Problem) -> None:
        """Choose width, strength and the taps' weights by leave-one-out log loss."""
        count = len(distances.landmarks)
        some = np.arange(count)
        if count > TUNING_ROWS:
            some = np.sort(np.random.default_rng(0).choice(count, TUNING_ROWS, replace=False))
        near, as_new = distances.some_between(some)
        rows = problem.select(distances.landmarks[some])

        def loss(**point: float) -> float:
            self._set(near, **point)
            new = None if as_new is None else self._kernel(as_new)
            outputs, _ = solve_leaving_out(
                self._kernel(near), rows.targets, self.strength_, rows.weights, rows.together, new
            )
            return log_loss(rows.calibrated(outputs)[1], rows.labels, rows.judges)

        axes = {"width": WIDTHS, "strength": STRENGTHS, "tap_weight": TAP_WEIGHTS if len(near) > 1 else (1.0,)}
        # Matrices are small here: where others compute too, the threads of a product would mostly wait for one another.
        with one_thread(blas=True):
            best = descend(loss, axes, START)
            self.loss_ = loss(**best)

    def _set(self, near: Sequence[Rows], width: float, strength: float, tap_weight: float) -> None:
        shares = np.array([1.0] + [tap_weight] * (len(near) - 1))
        self.tap_shares_: FloatArray = shares / shares.sum()
        # The median of some tells that of all.
        some = slice(None, None, len(near[0]) // 500 + 1)
        mean = weighted_mean([one[some] for one in near], self.tap_shares_)
        apart = mean[mean > NEAR]
        self.gamma_ = 1 / (width * (float(np.median(apart)) if len(apart) else 1.0))
        self.strength_ = strength / width


def choose_landmarks(count: int, most: int, random_state: int) -> Index:
    """All rows, or ``most`` of them at random, in order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(random_state).choice(count, most, replace=False))
