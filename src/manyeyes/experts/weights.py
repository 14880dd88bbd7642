"""What each photo counts for when classes are not equally large."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import compute_class_weight

from manyeyes.experts import ClassWeight, FloatArray


def class_weights(class_weight: ClassWeight, classes: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> FloatArray:
    """One weight a row, mean 1: ``labels`` are indices into ``classes``. Raises ValueError for an unknown class."""
    if class_weight is None:
        return np.ones(len(labels))
    if isinstance(class_weight, dict) and (unknown := set(class_weight) - set(classes.tolist())):
        raise ValueError(f"class_weight names classes that no photo has: {', '.join(sorted(map(str, unknown)))}")
    weights: FloatArray = compute_class_weight(class_weight, classes=classes, y=classes[labels])[labels]
    weights /= weights.mean()
    return weights
