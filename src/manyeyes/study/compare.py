"""Every method on the same photos, split by split. What methods have in common on a split is fitted once."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from manyeyes.backbones.nets import FINAL
from manyeyes.experts import ClassWeight, FloatArray, Groups
from manyeyes.experts.folds import folds
from manyeyes.experts.lesson import Lesson
from manyeyes.experts.panel import ExpertPanel
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.auto import Auto
from manyeyes.fusion.fusion import Fusion
from manyeyes.fusion.mixture import MixtureOfExperts
from manyeyes.study.methods import Kind, Method
from manyeyes.study.metrics import Labels
from manyeyes.study.outcomes import Answers, Outcomes, Shares, Split, Trial

log = logging.getLogger(__name__)

Done = Callable[[str], None]


def cross_validation(
    y: npt.NDArray[Any],
    count: int = 2,
    seeds: Sequence[int] = (0,),
    groups: Groups | None = None,
    per_class: int | None = None,
) -> list[Split]:
    """``count`` stratified folds for each seed (the paper's protocol is two: half to train, half to judge).

    Rows of one group are kept together. A class of a single photo cannot be judged: it is trained on where it is there,
    and left out of the test rows. A fold that would have to train on one class only is left out. With ``per_class``, no
    more than so many rows of a class are trained on, drawn at random; as many as ever are judged.
    """
    _, labels = np.unique(y, return_inverse=True)
    splits = []
    for seed in seeds:
        for fold, (known, test) in enumerate(folds(labels.astype(np.int64), count, seed, groups)):
            train = known if per_class is None else _few(known, labels, per_class, seed)
            can_be_judged = np.isin(labels[test], labels[train])
            if can_be_judged.any() and len(np.unique(labels[train])) > 1:
                splits.append(Split(seed, fold, train, test[can_be_judged]))
    return splits


def _few(rows: Labels, labels: Labels, per_class: int, seed: int) -> Labels:
    """No more than ``per_class`` of the rows of each class, in order."""
    rows = np.random.default_rng(seed).permutation(rows)
    return np.sort(np.concatenate([rows[labels[rows] == label][:per_class] for label in np.unique(labels[rows])]))


def compare(
    methods: Sequence[Method],
    table: FeatureTable,
    y: npt.NDArray[Any],
    splits: Sequence[Split],
    groups: Groups | None = None,
    class_weight: ClassWeight = None,
    done: Done = lambda name: None,
) -> Outcomes:
    """Every method on every split, one after the other. ``done`` hears of each method as it ends on each split."""
    trials = (run_trial(methods, table, y, split, groups, class_weight, done) for split in splits)
    return gather(methods, y, tuple(trials), groups)


def gather(
    methods: Sequence[Method], y: npt.NDArray[Any], trials: tuple[Trial, ...], groups: Groups | None
) -> Outcomes:
    """The trials of one comparison, with what they have in common."""
    classes, labels = np.unique(y, return_inverse=True)
    together = None if groups is None else np.unique(groups, return_inverse=True)[1].astype(np.int64)
    return Outcomes(tuple(map(str, classes)), labels.astype(np.int64), tuple(methods), trials, together)


def run_trial(
    methods: Sequence[Method],
    table: FeatureTable,
    y: npt.NDArray[Any],
    split: Split,
    groups: Groups | None = None,
    class_weight: ClassWeight = None,
    done: Done = lambda name: None,
) -> Trial:
    """Every method, trained on some rows and judged on others.

    Every class of the test rows must be among the training rows. A method that raises is told of in ``failures``; the
    others go on.
    """
    # Taking rows copies every block: once for all methods.
    known, new = table[split.train], table[split.test]
    together = None if groups is None else groups[split.train]
    lesson = Lesson(known, y[split.train], together, class_weight, split.seed)
    labels = np.searchsorted(lesson.classes, y[split.test]).astype(np.int64)
    # Indices of the lesson's classes among those of all photos: a class of one photo may be missing here.
    everywhere = np.searchsorted(np.unique(y), lesson.classes).astype(np.int64)
    answers, failures = {}, {}
    for method in methods:
        start = time.perf_counter()
        try:
            log_proba, fusion = _ask(method, lesson, new, labels)
            _check(log_proba)
            seconds = time.perf_counter() - start
            shares = None if fusion is None else _shares(fusion, new)
        except Exception as error:  # whatever it is, hours of other methods' work must not be lost with it
            log.info("%s failed on fold %d of seed %d", method.name, split.fold, split.seed, exc_info=True)
            failures[method.name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
        else:
            answers[method.name] = _answers(log_proba, labels, everywhere, seconds, shares)
        done(method.name)
    return Trial(split, answers, failures)


def _check(log_proba: FloatArray) -> None:
    # The greatest is finite in every row of probabilities; a single one may be -inf.
    if not np.isfinite(log_proba.max(axis=1)).all():
        raise FloatingPointError("some of its probabilities are not numbers")


def _answers(
    log_proba: FloatArray, labels: Labels, everywhere: Labels, seconds: float, shares: Shares | None
) -> Answers:
    return Answers(
        predicted=everywhere[log_proba.argmax(axis=1)],
        of_truth=log_proba[np.arange(len(labels)), labels],
        confidence=np.exp(log_proba.max(axis=1)),
        seconds=seconds,
        shares=shares,
    )


def _ask(method: Method, lesson: Lesson, new: FeatureTable, labels: Labels) -> tuple[FloatArray, Fusion | None]:
    """The method's log-probabilities of the new photos (m, C), and the fitted fusion where it is one."""
    if method.kind is Kind.SINGLE:
        return _opinions(lesson, method.expert, [method.backbone], new)[:, 0], None
    if method.kind is Kind.BOUND:
        return _oracle(_opinions(lesson, method.expert, lesson.table.names_of((FINAL,)), new), labels), None
    fusion = method.make(lesson.class_weight, lesson.random_state).fit_lesson(lesson)
    return fusion.predict_log_proba(new), fusion


def _opinions(lesson: Lesson, expert: str, blocks: Sequence[str], new: FeatureTable) -> FloatArray:
    """What an expert on each of these blocks alone says: (m, K, C)."""
    return ExpertPanel(tuple((expert, (block,)) for block in blocks)).fit(lesson).log_proba(new)


def _oracle(opinions: FloatArray, labels: Labels) -> FloatArray:
    """For each photo the opinion of the expert that gives the true class most: right if any expert is. (m, C)."""
    is_right = opinions.argmax(axis=2) == labels[:, None]
    of_truth = opinions[np.arange(len(labels)), :, labels]
    best = np.where(is_right, of_truth + 1e3, of_truth).argmax(axis=1)
    chosen: FloatArray = log_softmax(opinions[np.arange(len(labels)), best], axis=1)
    return chosen


def _shares(fusion: Fusion, new: FeatureTable) -> Shares | None:
    if isinstance(fusion, MixtureOfExperts):
        return Shares(tuple(fusion.panel_.names_), fusion.gate_weights(new))
    if isinstance(fusion, Auto):
        return Shares(tuple(fusion.blocks_), fusion.contributions(new))
    return None
