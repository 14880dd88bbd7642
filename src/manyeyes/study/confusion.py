"""The two classes that the backbones take for each other most often, and how each backbone sees them (fig. 6)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler

from manyeyes.experts import FloatArray
from manyeyes.features.table import FeatureTable
from manyeyes.study.outcomes import Outcomes

# Photos of a class beyond which the map of its features gets crowded and slow to draw.
MOST_MAPPED = 300


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes, by index.

    said : (2, K, 3) for photos of the first and of the second class, and each of K backbones, how often over all seeds
        it said the first, the second, any other class.
    photos : for each of the two, its photos in falling order of how many backbones take them for the other class.
    """

    classes: tuple[int, int]
    said: npt.NDArray[np.int64]
    photos: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def most_confused(outcomes: Outcomes, names: Sequence[str]) -> ConfusedPair | None:
    """The pair of classes with the most mistakes between them, over all backbones; None where there are none."""
    judged = outcomes.judged
    size = len(outcomes.classes)
    labels = np.broadcast_to(outcomes.labels, judged.shape)
    confusion = np.zeros((size, size), dtype=np.int64)
    for name in names:
        np.add.at(confusion, (labels[judged], outcomes.predicted(name)[judged]), 1)
    mutual = np.triu(confusion + confusion.T, 1)
    if not mutual.any():
        return None
    first, second = (int(index) for index in np.unravel_index(mutual.argmax(), mutual.shape))
    return ConfusedPair(
        (first, second),
        np.stack([_said(outcomes, names, true, (first, second)) for true in (first, second)]),
        (_most_mistaken(outcomes, names, first, second), _most_mistaken(outcomes, names, second, first)),
    )


def _said(outcomes: Outcomes, names: Sequence[str], true: int, pair: tuple[int, int]) -> npt.NDArray[np.int64]:
    rows = outcomes.judged & (outcomes.labels == true)
    counts = []
    for name in names:
        said = outcomes.predicted(name)[rows]
        first, second = (said == pair[0]).sum(), (said == pair[1]).sum()
        counts.append((first, second, len(said) - first - second))
    return np.array(counts)


def _most_mistaken(outcomes: Outcomes, names: Sequence[str], true: int, other: int) -> npt.NDArray[np.int64]:
    taken = sum((outcomes.predicted(name) == other).sum(axis=0) for name in names)
    rows = np.flatnonzero((outcomes.labels == true) & outcomes.judged.any(axis=0))
    order: npt.NDArray[np.int64] = rows[np.argsort(-np.asarray(taken)[rows], kind="stable")]
    return order


def feature_map(table: FeatureTable, block: str, rows: npt.NDArray[np.int64]) -> FloatArray:
    """t-SNE of these photos' features in one block, each column brought to one scale: (number of rows, 2)."""
    features = StandardScaler().fit_transform(table.blocks[block][rows])
    perplexity = min(30.0, (len(rows) - 1) / 3)
    placed: FloatArray = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(features)
    return placed


def mapped_photos(outcomes: Outcomes, pair: ConfusedPair) -> npt.NDArray[np.int64]:
    """Photos of the two classes, at most MOST_MAPPED of each, drawn at random where there are more."""
    rng = np.random.default_rng(0)
    chosen = []
    for index in pair.classes:
        rows = np.flatnonzero(outcomes.labels == index)
        chosen.append(np.sort(rng.choice(rows, MOST_MAPPED, replace=False)) if len(rows) > MOST_MAPPED else rows)
    return np.concatenate(chosen)
