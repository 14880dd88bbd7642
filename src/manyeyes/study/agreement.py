"""Where the backbones agree, and who wins which class: the paper's section 2, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import cohen_kappa_score, precision_recall_fscore_support

from manyeyes.experts import FloatArray
from manyeyes.study.outcomes import Outcomes


def kappas(outcomes: Outcomes, names: Sequence[str]) -> FloatArray:
    """Cohen's kappa of what each pair of methods predicts, mean over seeds: (K, K), 1 on the diagonal.

    Two methods that always say one and the same class agree by chance alone; their kappa counts as 1.
    """
    said = [outcomes.predicted(name) for name in names]
    result = np.eye(len(names))
    for one in range(len(names)):
        for other in range(one):
            by_seed = [
                _kappa(said[one][seed][judged], said[other][seed][judged])
                for seed, judged in enumerate(outcomes.judged)
            ]
            result[one, other] = result[other, one] = np.mean(by_seed)
    return result


def _kappa(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> float:
    if len(np.union1d(one, other)) == 1:
        return 1.0
    return float(cohen_kappa_score(one, other))


@dataclass(frozen=True)
class Rescue:
    """How many backbones are right at once.

    shares : (K + 1,) share of the photos that 0, 1 … K backbones get right.
    best : the backbone with the fewest errors. errors : how many, over all seeds. all_wrong : photos, over all seeds,
    that every backbone gets wrong.
    """

    shares: FloatArray
    best: str
    errors: int
    all_wrong: int

    @property
    def ratio(self) -> float:
        """Of the best backbone's errors those that no other gets right either (0 where it makes none)."""
        return self.all_wrong / self.errors if self.errors else 0.0


def rescue(outcomes: Outcomes, names: Sequence[str]) -> Rescue:
    """Fig. 3 for these backbones."""
    judged = outcomes.judged
    right = np.stack([outcomes.correct(name)[judged] for name in names])
    counts = np.bincount(right.sum(axis=0), minlength=len(names) + 1)
    best = int(right.sum(axis=1).argmax())
    return Rescue(counts / counts.sum(), names[best], int((~right[best]).sum()), int(counts[0]))


def class_accuracy(outcomes: Outcomes, name: str) -> FloatArray:
    """Share of each class's photos that the method gets right, over all seeds: (C,), NaN for a class never judged."""
    counts = _per_class(outcomes, outcomes.judged)
    with np.errstate(invalid="ignore"):
        return _per_class(outcomes, outcomes.correct(name)) / counts


def _per_class(outcomes: Outcomes, values: npt.NDArray[np.bool_]) -> FloatArray:
    counts = np.bincount(outcomes.labels, values.sum(axis=0), minlength=len(outcomes.classes))
    return counts.astype(np.float64)


def class_f1(outcomes: Outcomes, name: str) -> FloatArray:
    """The method's F1 for each class, over all seeds: (C,), 0 where it is never right, NaN for a class never judged."""
    judged = outcomes.judged
    labels = np.broadcast_to(outcomes.labels, judged.shape)[judged]
    every = np.arange(len(outcomes.classes))
    _, _, f1, support = precision_recall_fscore_support(
        labels, outcomes.predicted(name)[judged], labels=every, zero_division=0
    )
    return np.where(support > 0, f1, np.nan)


@dataclass(frozen=True)
class Wins:
    """Classes that a method wins: by itself, and as one of several with the same accuracy."""

    alone: int
    tied: int


def classes_won(outcomes: Outcomes, names: Sequence[str]) -> dict[str, Wins]:
    """Fig. 5: for each method the classes on which none of the others is more accurate."""
    accuracy = np.stack([class_accuracy(outcomes, name) for name in names])
    accuracy = accuracy[:, ~np.isnan(accuracy[0])]
    wins = accuracy == accuracy.max(axis=0)
    is_tie = wins.sum(axis=0) > 1
    return {
        name: Wins(int((row & ~is_tie).sum()), int((row & is_tie).sum())) for name, row in zip(names, wins, strict=True)
    }


@dataclass(frozen=True)
class ContestedClass:
    """A class that one backbone tells better than all others by ``margin`` of F1."""

    index: int
    winner: str
    margin: float


def contested_classes(outcomes: Outcomes, names: Sequence[str], count: int = 5) -> list[ContestedClass]:
    """Fig. 4: classes with different winners by F1, for each winner the class that it wins by most, best first."""
    if len(names) < 2:
        return []
    f1 = np.stack([class_f1(outcomes, name) for name in names])
    found: dict[str, ContestedClass] = {}
    for index in np.flatnonzero(~np.isnan(f1[0])):
        second, first = np.argsort(f1[:, index], kind="stable")[-2:]
        one = ContestedClass(int(index), names[first], float(f1[first, index] - f1[second, index]))
        if one.margin > 0 and (one.winner not in found or one.margin > found[one.winner].margin):
            found[one.winner] = one
    return sorted(found.values(), key=lambda one: -one.margin)[:count]


def disagreement(outcomes: Outcomes, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Judged photos on which these methods do not all say the same: (number of seeds, n)."""
    said = np.stack([outcomes.predicted(name) for name in names])
    differ: npt.NDArray[np.bool_] = (said != said[0]).any(axis=0) & outcomes.judged
    return differ


def accuracy_where(outcomes: Outcomes, name: str, which: npt.NDArray[np.bool_]) -> float:
    """Share of these (seed, photo) pairs that the method gets right; NaN where there are none."""
    return float(outcomes.correct(name)[which].mean()) if which.any() else float("nan")
