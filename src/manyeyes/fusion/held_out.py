"""What a fusion with few parameters says of its own training rows when it had not learnt from them."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from manyeyes.experts import FloatArray, Groups
from manyeyes.experts.folds import Rows, folds

FOLDS = 5


def hold_out(
    labels: npt.NDArray[np.int64],
    weights: FloatArray,
    groups: Groups | None,
    seed: int,
    unlearnt: FloatArray,
    predict: Callable[[Rows, Rows], FloatArray],
) -> FloatArray:
    """Log-probabilities (n, ..., C), fold by fold, by what had learnt from the other folds.

    predict : learns from the first rows and returns log-probabilities of the second.
    unlearnt : (n, ..., C), what is said where nothing can be learnt: of rows that no fold holds out, or when all others
        weigh nothing.
    """
    said = unlearnt.copy()
    for train, held in folds(labels, FOLDS, seed, groups):
        if weights[train].any():
            said[held] = predict(train, held)
    return said
