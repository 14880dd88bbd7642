from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Clouds = Callable[..., tuple[FloatArray, IntArray]]


@pytest.fixture
def clouds() -> Clouds:
    """Rows around one centre a class, (n, columns), and their classes: overlapping unless ``apart`` is large."""

    def make(
        rows: int, columns: int, classes: int, apart: float = 1.0, seed: int = 0, **choice: Any
    ) -> tuple[FloatArray, IntArray]:
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.arange(rows) % classes) if not choice else rng.choice(classes, rows, **choice)
        centres = rng.normal(size=(classes, columns))
        return apart * centres[labels] + rng.normal(size=(rows, columns)), labels

    return make
