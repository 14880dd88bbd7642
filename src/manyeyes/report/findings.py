"""Numbers of a report: how good the model and its experts are, and where they agree."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from manyeyes.features.table import backbone_of
from manyeyes.report.judged import FUSED, FloatArray, Index, Judged
from manyeyes.study.agreement import Rescue, Wins, classes_won, kappas, rescue
from manyeyes.study.methods import Kind, Method
from manyeyes.study.metrics import Scores, score
from manyeyes.study.outcomes import Answers, Outcomes, Split, Trial
from manyeyes.study.statistics import sign_test

# Bins of the reliability diagram, of equal width.
BINS = 10


@dataclass(frozen=True)
class Row:
    """An expert's scores, or the model's; low, high : 95% interval of the accuracy, by Wilson."""

    name: str
    scores: Scores
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """Photos whose class was as probable as ``low`` to ``high``: how many, how probable on the mean, how
    often right; least, most : 95% interval of that, by Wilson."""

    low: float
    high: float
    photos: int
    confidence: float
    accuracy: float
    least: float
    most: float


@dataclass(frozen=True)
class Findings:
    """rows : the model's first, then each expert's. names : of the experts on one backbone, K of them. kappas : (K, K)
    of these. rescue, wins : of these, see :mod:`manyeyes.study.agreement`; None and nothing for fewer than two. best :
    the most accurate of these, or "". better, worse, p_value : of the model against that one, by photo (McNemar's exact
    test). confusion : (C, C), rows the true classes."""

    rows: tuple[Row, ...]
    bins: tuple[Bin, ...]
    confusion: Index
    names: tuple[str, ...]
    kappas: FloatArray
    rescue: Rescue | None
    wins: dict[str, Wins]
    best: str
    better: int
    worse: int
    p_value: float


def find(judged: Judged) -> Findings:
    """All of that."""
    alone = {name: _row(name, said, judged.labels) for name, said in judged.opinions.items()}
    backbones = {backbone_of(block) for block in judged.table.names}
    outcomes, names = _outcomes(judged), tuple(name for name in alone if name in backbones)
    several = len(names) > 1
    best = max(names, key=lambda name: alone[name].scores.accuracy, default="")
    theirs = judged.opinions[best].argmax(axis=1) == judged.labels if best else judged.is_right
    better, worse = int((judged.is_right & ~theirs).sum()), int((~judged.is_right & theirs).sum())
    return Findings(
        rows=(_row(FUSED, judged.log_proba, judged.labels), *alone.values()),
        bins=_bins(np.exp(judged.log_proba.max(axis=1)), judged.is_right),
        confusion=confusion_matrix(judged.labels, judged.predicted, labels=np.arange(len(judged.classes))),
        names=names,
        kappas=kappas(outcomes, names),
        rescue=rescue(outcomes, names) if several else None,
        wins=classes_won(outcomes, names) if several else {},
        best=best,
        better=better,
        worse=worse,
        p_value=sign_test(better, worse),
    )


def _row(name: str, log_proba: FloatArray, labels: Index) -> Row:
    scores = score(log_proba, labels)
    return Row(name, scores, *_interval(round(scores.accuracy * len(labels)), len(labels)))


def _interval(right: int, photos: int) -> tuple[float, float]:
    interval = binomtest(right, photos).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _bins(confidence: FloatArray, is_right: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> tuple[Bin, ...]:
    """Those that are not empty."""
    numbers = np.minimum((confidence * BINS).astype(int), BINS - 1)
    found = []
    for number in np.unique(numbers):
        sure, right = confidence[numbers == number], is_right[numbers == number]
        interval = _interval(int(right.sum()), len(right))
        low, high = number / BINS, (number + 1) / BINS
        found.append(Bin(low, high, len(right), float(sure.mean()), float(right.mean()), *interval))
    return tuple(found)


def _outcomes(judged: Judged) -> Outcomes:
    """The experts as methods of a study with one split."""
    rows = np.arange(len(judged.labels))
    answers = {
        name: Answers(said.argmax(axis=1), said[rows, judged.labels], np.exp(said.max(axis=1)), 0.0)
        for name, said in judged.opinions.items()
    }
    methods = tuple(Method(name, Kind.SINGLE) for name in judged.opinions)
    return Outcomes(judged.classes, judged.labels, methods, (Trial(Split(0, 0, rows[:0], rows), answers, {}),))
