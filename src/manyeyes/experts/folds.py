"""Folds that bear small classes, and what a fold that lacks a class can say of it."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.utils.validation import check_consistent_length

# The log-probability that is given to a class which was absent from the rows an expert learnt from.
LOG_UNSEEN = float(np.log(1e-6))
# Held-out rows that tell one strength of an expert from another well enough.
TUNING_ROWS = 600

Rows = npt.NDArray[np.int64]


def folds(
    y: npt.NDArray[np.int64], count: int, seed: int, groups: npt.NDArray[Any] | None = None
) -> Iterator[tuple[Rows, Rows]]:
    """Stratified (train, held-out) rows: ``count`` folds, or fewer when even the largest class has fewer photos.

    Rows of one group (frames of one film, photos of one plant) are never on both sides. A class of one photo is absent
    from one fold's training rows. Nothing is yielded when there is nothing to hold out: no class has two photos, or
    there is only one group.
    """
    count = min(count, int(np.bincount(y).max()))
    if groups is not None:
        check_consistent_length(y, groups)
        count = min(count, len(np.unique(groups)))
    if count < 2:
        return
    splitter = (StratifiedKFold if groups is None else StratifiedGroupKFold)(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # scikit-learn warns of classes with fewer photos than folds; they are what this function is for.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = list(splitter.split(np.zeros(len(y)), y, groups))
    # A few large groups may leave a fold without rows.
    yield from ((train, held) for train, held in splits if len(train) and len(held))


def knowing_all(knows: Rows, others: Rows, labels: Rows, groups: npt.NDArray[Any] | None = None) -> tuple[Rows, Rows]:
    """The same two sides, but every class is on the first: what lacks there comes over, with all of its groups."""
    lacking = ~np.isin(labels[others], labels[knows])
    group = others if groups is None else groups[others]
    moves = np.isin(group, group[lacking])
    return np.sort(np.concatenate([knows, others[moves]])), others[~moves]


def tuning_folds(splits: Sequence[tuple[Rows, Rows]], judges: npt.NDArray[np.float64]) -> int:
    """How many of the first folds are enough to choose by: all, or those that together hold out enough rows.

    Only rows that ``judges`` (n,) gives a weight count.
    """
    judging = np.cumsum([np.count_nonzero(judges[held]) for _, held in splits])
    return min(int(np.searchsorted(judging, TUNING_ROWS)) + 1, len(splits))


def spread_to_all_classes(
    log_proba: npt.NDArray[np.float64], present: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.float64]:
    """From columns for the classes ``present`` to columns for all: (n, count), each row still summing to one."""
    if len(present) == count:
        return log_proba
    unseen = count - len(present)
    spread = np.full((len(log_proba), count), LOG_UNSEEN)
    spread[:, present] = log_proba + np.log1p(-unseen * np.exp(LOG_UNSEEN))
    return spread


def judged(labels: npt.NDArray[np.int64], groups: npt.NDArray[Any] | None = None) -> npt.NDArray[np.float64]:
    """1 for each row that can be judged out of fold, 0 for the others: (n,).

    The only photo (or group) of a class can be held out only where nothing is known of its class, which says nothing of
    how good an expert is. All rows count when none can be judged.
    """
    pairs = np.stack([labels, np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]])
    classes, counts = np.unique(np.unique(pairs, axis=1)[0], return_counts=True)
    can_be = np.isin(labels, classes[counts > 1])
    return can_be.astype(np.float64) if can_be.any() else np.ones(len(labels))
