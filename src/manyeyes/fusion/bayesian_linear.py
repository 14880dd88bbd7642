"""Bayesian linear regression whose two precisions maximise the evidence, for many targets on one set of features.

The model of a target y (N rows): ``y = Φ w + b + noise``, w ~ N(0, I/α), noise ~ N(0, I/β), b of a flat prior.
Centring rows and targets takes b out, and one of the N degrees of freedom with it. With the eigenvalues s_j and
eigenvectors U of the centred Gram matrix ΦΦᵀ, z = Uᵀ y and r = ‖y‖² - ‖z‖², all follows from the ratio λ = α/β alone:
``log p(y) = ½ [Σ_j log(λ/(s_j+λ)) + (N-1)(log β - 1 - log 2π)]``, 1/β the mean over N-1 of Σ_j z_j² λ/(s_j+λ) + r.
Several targets are the columns of (N, C) matrices; each has a ratio of its own.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from manyeyes.experts import FloatArray, Groups
from manyeyes.experts.leave_out import rows_of_each_group

# Rows may be in single or double precision; what is computed from their Gram matrix is in double.
Rows = npt.NDArray[np.floating[Any]]
Real = TypeVar("Real", np.float32, np.float64)

# Eigenvalues below this share of the largest are rounding errors of float32 features.
NEGLIGIBLE = 1e-6
# The ratio is looked for between these, in units of the mean eigenvalue: from no penalty to all but no features.
RANGE = (1e-6, 1e6)
DECADES = 12
ROUNDS = 100


@dataclass(frozen=True)
class Spectrum:
    """Targets as a Gram matrix sees them.

    values : (r,) positive eigenvalues s.
    squares : (r, C), z² of each target.
    rest : (C,), the part of ‖y‖² that no weights can explain.
    freedom : degrees of freedom, N - 1.
    """

    values: FloatArray
    squares: FloatArray
    rest: FloatArray
    freedom: int

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest ratio that is considered."""
        mean = float(self.values.sum()) / self.freedom or 1.0
        return RANGE[0] * mean, RANGE[1] * mean


@dataclass(frozen=True)
class Maximum:
    """Where the evidence is largest: the ratios (C,), the log evidence there (C,), and after how many rounds."""

    ratios: FloatArray
    evidence: FloatArray
    rounds: int


def mean_of(rows: npt.NDArray[Real], weights: FloatArray) -> npt.NDArray[Real]:
    """Weighted mean of rows (n, D): (D,), in their precision."""
    mean: npt.NDArray[Real] = (weights / weights.sum()).astype(rows.dtype) @ rows
    return mean


def centred(rows: npt.NDArray[Real], weights: FloatArray) -> npt.NDArray[Real]:
    """Rows (n, D) less their weighted mean, times the roots of their weights, which makes the noise of all alike."""
    deviation = rows - mean_of(rows, weights)
    deviation *= np.sqrt(weights)[:, None].astype(rows.dtype)
    return deviation


def decompose(gram: Rows) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues (r,) that are more than rounding errors, and their eigenvectors (n, r)."""
    values, vectors = np.linalg.eigh(gram.astype(np.float64))
    kept = values > NEGLIGIBLE * max(float(values[-1]), 1e-12)
    return values[kept], vectors[:, kept]


def see(values: FloatArray, vectors: FloatArray, targets: FloatArray) -> Spectrum:
    """The spectrum of centred targets (n, C)."""
    squares = (vectors.T @ targets) ** 2
    rest = np.maximum((targets**2).sum(axis=0) - squares.sum(axis=0), 0)
    return Spectrum(values, squares, rest, len(targets) - 1)


def log_evidence(spectrum: Spectrum, ratios: FloatArray) -> FloatArray:
    """Log evidence of each target (C,) at ratios (C,), at the noise precision that is best for each."""
    shrinkage = ratios / (spectrum.values[:, None] + ratios)
    misfit = (shrinkage * spectrum.squares).sum(axis=0) + spectrum.rest
    count = spectrum.freedom
    # A target that never varies is explained by anything.
    precision = count / np.maximum(misfit, 1e-12)
    evidence: FloatArray = (np.log(shrinkage).sum(axis=0) + count * (np.log(precision) - 1 - np.log(2 * np.pi))) / 2
    return evidence


def mackay_step(spectrum: Spectrum, ratios: FloatArray) -> FloatArray:
    """The fixed-point map λ → α/β (MacKay, "Bayesian interpolation", 1992) whose rest points are extrema: (C,)."""
    inverse = 1 / (spectrum.values[:, None] + ratios)
    well_determined = (spectrum.values[:, None] * inverse).sum(axis=0)
    squared_weights = (spectrum.values[:, None] * spectrum.squares * inverse**2).sum(axis=0)
    squared_errors = (spectrum.squares * (ratios * inverse) ** 2).sum(axis=0) + spectrum.rest
    least, largest = spectrum.bounds
    with np.errstate(divide="ignore", invalid="ignore"):
        step = well_determined * squared_errors / (squared_weights * (spectrum.freedom - well_determined))
    # Features without any weight explain nothing, whatever their ratio.
    return np.clip(np.where(np.isnan(step), largest, step), least, largest)


def maximise_evidence(spectrum: Spectrum, accelerate: bool = True, tolerance: float = 1e-4) -> Maximum:
    """Iterate the fixed point, two steps a round, until no ratio moves by more than this share in a round.

    ``accelerate`` extrapolates the two steps by Aitken's delta-squared (as Kim et al., CVPR 2016, do). On its own that
    can run to an extremum that is a minimum: it is taken only where the evidence is not less than without it.
    """
    # The evidence can have several maxima: the search begins at the best of one ratio a decade.
    starts = np.geomspace(*spectrum.bounds, DECADES + 1)
    ratios = starts[np.argmax([log_evidence(spectrum, np.full_like(spectrum.rest, start)) for start in starts], axis=0)]
    rounds, moved = 0, np.inf
    while moved >= tolerance and rounds < ROUNDS:
        once = mackay_step(spectrum, ratios)
        twice = mackay_step(spectrum, once)
        following = _extrapolated(spectrum, ratios, once, twice) if accelerate else twice
        moved = float(np.abs(np.log(following / ratios)).max())
        ratios = following
        rounds += 1
    return Maximum(ratios, log_evidence(spectrum, ratios), rounds)


def _extrapolated(spectrum: Spectrum, ratios: FloatArray, once: FloatArray, twice: FloatArray) -> FloatArray:
    """Aitken's limit of the three ratios' logarithms, where it is no worse than the last of them.

    On logarithms, for there a ratio that runs to nothing or to infinity makes even steps, and is at its bound at once.
    """
    first, second = np.log(once / ratios), np.log(twice / once)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shrinks = second / first
        limit = twice * np.exp(np.where(shrinks < 1, second * shrinks / (1 - shrinks), np.inf * second))
    limit = np.clip(np.where(np.isnan(limit), twice, limit), *spectrum.bounds)
    is_better = log_evidence(spectrum, limit) >= log_evidence(spectrum, twice)
    return np.where(is_better, limit, twice)


class BayesianLinear:
    """The posterior mean on all rows, with what it says of each row when that row was left out.

    Parameters
    ----------
    rows, targets, weights : (n, D) in single or double precision, (n, C), and (n,), which counts the rows.
    groups : (n,) or None; rows of one group are left out together.

    Attributes
    ----------
    ratios : (C,), the λ of most evidence.
    coef, intercept : (D, C) and (C,).
    left_out : (n, C) outputs for the rows, each at its target's ratio but without that row.
    """

    def __init__(self, rows: Rows, targets: FloatArray, weights: FloatArray, groups: Groups | None) -> None:
        # Rows that count for nothing are still spoken of.
        weights = np.maximum(weights, 1e-9)
        features, wanted = centred(rows, weights), centred(targets, weights)
        values, vectors = _basis(features)
        self.ratios = maximise_evidence(see(values, vectors, wanted)).ratios
        moment = vectors.T @ wanted
        shrunk = moment / (values[:, None] + self.ratios)
        self.coef: Rows = features.T @ (vectors @ shrunk).astype(rows.dtype)
        self.intercept: FloatArray = mean_of(targets, weights) - mean_of(rows, weights) @ self.coef

        shrinkage = self.ratios / (values[:, None] + self.ratios)
        errors = vectors @ (shrinkage * moment) + (wanted - vectors @ moment)
        left_out = _errors_left_out(errors, vectors, shrinkage, np.sqrt(weights / weights.sum()), groups)
        self.left_out: FloatArray = targets - left_out / np.sqrt(weights)[:, None]


def _errors_left_out(
    errors: FloatArray, vectors: FloatArray, shrinkage: FloatArray, through_mean: FloatArray, groups: Groups | None
) -> FloatArray:
    """``(I - H)⁻¹ e`` for each row, or each group of rows: from the errors e of the fit to all, (n, C), what they are
    when the row takes no part. H is the hat matrix.

    I - H is written as what the ridge takes from the eigenvectors, and what they do not span but for the mean's
    direction: nothing cancels where H is all but the identity.
    """
    unspanned = np.maximum(1 - (vectors**2).sum(axis=1) - through_mean**2, 0)
    left_out: FloatArray = errors / np.maximum(vectors**2 @ shrinkage + unspanned[:, None], 1e-12)
    for rows in rows_of_each_group(groups):
        part, identity = vectors[rows], np.eye(len(rows))
        unspanned_part = identity - part @ part.T - np.outer(through_mean[rows], through_mean[rows])
        for c in range(errors.shape[1]):
            system = (part * shrinkage[:, c]) @ part.T + unspanned_part
            system += 1e-12 * np.trace(system) * identity
            left_out[rows, c] = np.linalg.solve(system, errors[rows, c])
    return left_out


def _basis(features: Rows) -> tuple[FloatArray, FloatArray]:
    """The eigenvalues and eigenvectors of ΦΦᵀ, from the smaller of the two Gram matrices."""
    if features.shape[1] >= len(features):
        return decompose(features @ features.T)
    values, vectors = decompose(features.T @ features)
    return values, features @ vectors / np.sqrt(values)
