"""The feature table: all blocks of a dataset, row for row. What experts, gates and fusions are trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SourceLabels:
    """The ten most probable source labels of one backbone, per photo: (n, 10) each, in falling order."""

    index: npt.NDArray[np.int16]
    probability: FloatArray


@dataclass(frozen=True)
class FeatureTable:
    """Blocks of features for the same n photos.

    blocks : name (backbone, or backbone.tap) → (n, D) float32.
    thumbnails : (n, 64, 64, 3) uint8, or None when no gate will look at photos.
    source_labels : backbone → its source labels, for backbones that have a source head.

    Indexing by rows gives a table, so scikit-learn's splitters and searches work on it as on an array.
    """

    blocks: dict[str, FloatArray]
    thumbnails: npt.NDArray[np.uint8] | None = None
    source_labels: dict[str, SourceLabels] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.blocks or any(block.ndim != 2 for block in self.blocks.values()):
            raise ValueError("a feature table wants one block or more, each of shape (n, D)")
        lengths = {len(block) for block in self.blocks.values()}
        if self.thumbnails is not None:
            lengths.add(len(self.thumbnails))
        for top in self.source_labels.values():
            lengths |= {len(top.index), len(top.probability)}
        if len(lengths) != 1:
            raise ValueError(f"all parts of a feature table want the same number of rows, not {sorted(lengths)}")

    def __len__(self) -> int:
        return len(next(iter(self.blocks.values())))

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), sum(block.shape[1] for block in self.blocks.values())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.blocks)

    def __getitem__(self, rows: Any) -> "FeatureTable":
        return FeatureTable(
            {name: block[rows] for name, block in self.blocks.items()},
            None if self.thumbnails is None else self.thumbnails[rows],
            {name: SourceLabels(top.index[rows], top.probability[rows]) for name, top in self.source_labels.items()},
        )

    def select(self, names: Sequence[str]) -> "FeatureTable":
        """The table with only these blocks, in this order."""
        return FeatureTable(
            {name: self.blocks[name] for name in names},
            self.thumbnails,
            {name: self.source_labels[name] for name in names if name in self.source_labels},
        )

    def concatenated(self) -> FloatArray:
        """All blocks side by side: (n, sum of D)."""
        return np.concatenate(list(self.blocks.values()), axis=1)
