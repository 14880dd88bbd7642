from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from manyeyes.features.table import FeatureTable

Labels = npt.NDArray[np.int64]
Clouds = Callable[..., tuple[FeatureTable, Labels]]


@pytest.fixture(scope="session")
def clouds() -> Clouds:
    """A feature table of one block for each of ``apart``, with classes that are so far apart in it, and the labels."""

    def make(
        rows: int, classes: int = 3, apart: Sequence[float] = (1.0, 0.8, 0.6), seed: int = 0, p: Any = None
    ) -> tuple[FeatureTable, Labels]:
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.arange(rows) % classes) if p is None else rng.choice(classes, rows, p=p)
        blocks = {}
        for k, distance in enumerate(apart):
            # Centres are the same whatever the seed of the rows, so that another seed gives new rows of the same world.
            centres = np.random.default_rng(100 + k).normal(size=(classes, 4 + k))
            noise = rng.normal(size=(rows, 4 + k))
            blocks["abcdefg"[k]] = (distance * centres[labels] + noise).astype(np.float32)
        return FeatureTable(blocks), labels

    return make
