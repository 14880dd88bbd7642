"""Is one method better than another? Paired tests on the same photos, honest about photos that recur over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from manyeyes.experts import FloatArray
from manyeyes.study.methods import REFERENCES, Kind
from manyeyes.study.outcomes import Outcomes

RESAMPLES = 10_000
# So that 10,000 resamples of many photos need no more than some hundred megabytes.
PART = 250


@dataclass(frozen=True)
class PairedTest:
    """One method against another, on the same photos.

    difference : of the accuracies, in [-1, 1]; positive when ``method`` is better.
    low, high : 95% interval of the difference, from a bootstrap over photos.
    better, worse : photos that the one gets right more often over the seeds than the other.
    p_value : exact sign test on those photos; with one seed that is McNemar's exact test.
    p_adjusted : the same, adjusted by Holm's method for all the tests against one reference.
    by_seed : McNemar's exact p for each seed alone.
    """

    method: str
    reference: str
    difference: float
    low: float
    high: float
    better: int
    worse: int
    p_value: float
    p_adjusted: float
    by_seed: tuple[float, ...]


def paired_tests(
    outcomes: Outcomes, references: Sequence[str] = REFERENCES, resamples: int = RESAMPLES
) -> list[PairedTest]:
    """Every method but the bound against every reference that is among the methods, itself left out.

    The unit is the photo, or the group of photos that belong together: over seeds the same photo is judged again, which
    is no new evidence. (The folds' training rows overlap too, for which no simple test accounts.)
    """
    names = [name for name in outcomes.names() if outcomes.method(name).kind is not Kind.BOUND]
    counts = _by_unit(outcomes, outcomes.judged)
    right = {name: _by_unit(outcomes, outcomes.correct(name)) for name in names}
    present = [reference for reference in references if reference in names] if len(names) > 1 else []
    weights = _resampled(len(counts), resamples)
    tests = []
    for reference in present:
        others = [name for name in names if name != reference]
        gains = {name: right[name] - right[reference] for name in others}
        intervals = bootstrap_intervals(np.stack(list(gains.values()), axis=1), counts, weights)
        better = {name: (int((gain > 0).sum()), int((gain < 0).sum())) for name, gain in gains.items()}
        p_values = [sign_test(*better[name]) for name in others]
        for name, (low, high), p, adjusted in zip(others, intervals, p_values, holm(p_values), strict=True):
            tests.append(
                PairedTest(
                    method=name,
                    reference=reference,
                    difference=float(gains[name].sum() / counts.sum()),
                    low=float(low),
                    high=float(high),
                    better=better[name][0],
                    worse=better[name][1],
                    p_value=p,
                    p_adjusted=adjusted,
                    by_seed=_mcnemar_by_seed(outcomes, name, reference),
                )
            )
    return tests


def sign_test(better: int, worse: int) -> float:
    """Two-sided exact binomial p of ``better`` against ``worse`` discordant photos (1 when there are none)."""
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted by Holm's step-down method, in their order."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in adjusted]


def bootstrap_intervals(
    gains: FloatArray, counts: FloatArray, weights: npt.NDArray[np.uint8] | FloatArray, level: float = 0.95
) -> FloatArray:
    """Percentile intervals of ``sum(gains) / sum(counts)`` over resampled units: (P, 2).

    gains : (U, P) for each unit. counts : (U,) how often each was judged. weights : (R, U) how often each resample
    holds each unit.
    """
    parts = [weights[start : start + PART].astype(np.float64) for start in range(0, len(weights), PART)]
    means = np.concatenate([(part @ gains) / (part @ counts)[:, None] for part in parts])
    tail = (1 - level) / 2
    interval: FloatArray = np.quantile(means, [tail, 1 - tail], axis=0).T
    return interval


def _resampled(units: int, resamples: int) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    weights = np.empty((resamples, units), dtype=np.uint8)
    for row in weights:
        row[:] = np.bincount(rng.integers(0, units, units), minlength=units)
    return weights


def _by_unit(outcomes: Outcomes, values: npt.NDArray[np.bool_]) -> FloatArray:
    """From (seeds, n) to sums over the seeds for each photo, or each group of photos, that was judged: (U,)."""
    judged = outcomes.judged.any(axis=0)
    units = np.arange(len(outcomes.labels)) if outcomes.groups is None else outcomes.groups
    _, index = np.unique(units[judged], return_inverse=True)
    return np.bincount(index, values.sum(axis=0)[judged]).astype(np.float64)


def _mcnemar_by_seed(outcomes: Outcomes, name: str, reference: str) -> tuple[float, ...]:
    ours, theirs = outcomes.correct(name), outcomes.correct(reference)
    better, worse = (ours & ~theirs).sum(axis=1), (theirs & ~ours).sum(axis=1)
    return tuple(sign_test(int(b), int(w)) for b, w in zip(better, worse, strict=True))
