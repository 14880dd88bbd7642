from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from manyeyes.experts import softmax
from manyeyes.features.table import FeatureTable, SourceLabels
from manyeyes.fusion import gradient

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


@pytest.fixture(scope="session")
def labelled(clouds: Clouds) -> Clouds:
    """As ``clouds``, and the backbones of blocks a and b have source labels, which tell two classes apart.

    Block c has none: its backbone has no source head.
    """

    def make(rows: int, classes: int = 3, seed: int = 0) -> tuple[FeatureTable, Labels]:
        table, labels = clouds(rows, classes, (0.6, 0.6, 0.6), seed)
        rng = np.random.default_rng(seed)
        probability = np.tile(np.linspace(0.5, 0.02, 10, dtype=np.float32), (rows, 1))
        source_labels = {}
        for name in "ab":
            index = rng.permuted(np.tile(np.arange(100, 110, dtype=np.int16), (rows, 1)), axis=1)
            index[:, 0] = 7 * (labels % 2)
            source_labels[name] = SourceLabels(index, probability)
        thumbnails = rng.integers(0, 256, (rows, 64, 64, 3), np.uint8)
        return FeatureTable(table.blocks, thumbnails, source_labels), labels

    return make


@pytest.fixture
def fast_descent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few large steps: nothing that is tested with them depends on how long descent goes on, but the time does."""
    monkeypatch.setattr(gradient, "EPOCHS", 15)
    monkeypatch.setattr(gradient, "LEARNING_RATE", 0.01)


@pytest.fixture
def two_strengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, of the strengths that softmax regression chooses from."""
    monkeypatch.setattr(softmax, "STRENGTHS", (0.01, 1.0))
