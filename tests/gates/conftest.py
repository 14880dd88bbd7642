from collections.abc import Callable, Sequence

import numpy as np
import pytest

from manyeyes.features.table import FeatureTable

MakeTable = Callable[..., FeatureTable]


@pytest.fixture(scope="session")
def noise() -> MakeTable:
    """A feature table without meaning: blocks of the given widths, and thumbnails of ``side`` pixels."""

    def make(rows: int, widths: Sequence[int], side: int = 64, seed: int = 0) -> FeatureTable:
        rng = np.random.default_rng(seed)
        blocks = {f"block{k}": rng.normal(size=(rows, width)).astype(np.float32) for k, width in enumerate(widths)}
        return FeatureTable(blocks, rng.integers(0, 256, (rows, side, side, 3), np.uint8))

    return make
