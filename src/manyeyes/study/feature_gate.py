"""What a feature gate says: which features it turns down, and which it keeps for some classes only."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from manyeyes.experts import FloatArray
from manyeyes.study.metrics import Labels

# A feature whose weight is below this share of what leaves it as it was is off.
OFF = 0.1


@dataclass(frozen=True)
class GateReading:
    """class_means : mean weight of each feature on the photos of each class, (C, D), 1 for a feature as it came.
    off : share of the features that are off on the photos of each class on the mean, (C,). weights : of each feature on
    the mean, (D,). selective : features by how much their weight depends on the class, the most selective first, (D,).
    exciting : for each of the first of these the photos on which it weighs most, (features, photos).
    """

    class_means: FloatArray
    off: FloatArray
    weights: FloatArray
    selective: npt.NDArray[np.int64]
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
    exciting = np.argsort(-weights[:, selective[:count]], axis=0, kind="stable")[:photos].T
    return GateReading(means, off, weights.mean(axis=0), selective, exciting)
