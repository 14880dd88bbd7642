"""What a feature gate says: which features it turns down, and which it keeps for some classes only."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from manyeyes.experts import FloatArray
from manyeyes.study.metrics import Labels

# A feature whose weight is below this share of what leaves it as it was is off.
OFF = 0.1
# Of so many of the most selective features, those that are shown correlate less than this.
CANDIDATES, ALIKE = 256, 0.7


@dataclass(frozen=True)
class GateReading:
    """class_means : mean weight of each feature on the photos of each class, (C, D), 1 for a feature as it came.
    off : share of the features that are off on the photos of each class on the mean, (C,). weights : of each feature on
    the mean, (D,). selective : features by how much their weight depends on the class, the most selective first, (D,).
    telling : the first of these that tell different things, and exciting : for each the photos on which it weighs most,
    (features, photos).
    """

    class_means: FloatArray
    off: FloatArray
    weights: FloatArray
    selective: npt.NDArray[np.int64]
    telling: npt.NDArray[np.int64]
    exciting: npt.NDArray[np.int64]


def read_gate(weights: FloatArray, labels: Labels, count: int = 4, photos: int = 6) -> GateReading:
    """What the weights (n, D), between 0 and 2, of photos with ``labels`` (n,) say; ``photos`` for each of ``count``
    features. Every class below the largest label must have a photo."""
    classes = labels.max() + 1
    means = np.stack([weights[labels == one].mean(axis=0) for one in range(classes)])
    off = np.array([(weights[labels == one] < OFF).mean() for one in range(classes)])
    # Of the spread over photos what classes explain, in units of the gate: what hardly varies is not selective.
    counts = np.bincount(labels)[:, None] / len(labels)
    between = (counts * (means - weights.mean(axis=0)) ** 2).sum(axis=0) ** 0.5
    selective = np.argsort(-between, kind="stable")
    telling = _unlike(weights[:, selective[:CANDIDATES]], count)
    exciting = np.argsort(-weights[:, selective[telling]], axis=0, kind="stable")[:photos].T
    return GateReading(means, off, weights.mean(axis=0), selective, selective[telling], exciting)


def _unlike(weights: FloatArray, count: int) -> npt.NDArray[np.int64]:
    """The numbers of the first columns of which each goes with no other; and of the first others, if these are too few.

    A gate has fewer units than features, so that many of its weights say the same.
    """
    spread = weights - weights.mean(axis=0)
    units = spread / np.maximum(np.linalg.norm(spread, axis=0), 1e-12)
    chosen: list[int] = []
    for column in range(weights.shape[1]):
        if len(chosen) < count and (np.abs(units[:, column] @ units[:, chosen]) < ALIKE).all():
            chosen.append(column)
    others = [column for column in range(weights.shape[1]) if column not in chosen]
    return np.array([*chosen, *others][:count], dtype=np.int64)
