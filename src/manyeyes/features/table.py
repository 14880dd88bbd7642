"""The feature table: all blocks of a dataset, row for row. What experts, gates and fusions are trained on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from manyeyes.backbones.nets import FINAL

FloatArray = npt.NDArray[np.float32]


def block_name(backbone: str, tap: str) -> str:
    """The name of a backbone's block that is read at ``tap``."""
    return backbone if tap == FINAL else f"{backbone}/{tap}"


def tap_of(name: str) -> str:
    """Where a block was read. Cards' names hold no slash, and a block that no backbone made counts as final."""
    return name.partition("/")[2] or FINAL


def backbone_of(name: str) -> str:
    """Whose block it is."""
    return name.partition("/")[0]


@dataclass(frozen=True)
class SourceLabels:
    """The ten most probable source labels of one backbone, per photo: (n, 10) each, in falling order."""

    index: npt.NDArray[np.int16]
    probability: FloatArray


@dataclass(frozen=True)
class FeatureTable:
    """Blocks of features for the same n photos.

    blocks : name → (n, D) float32. The final features of a backbone bear its name, other taps' ``backbone/tap``.
    thumbnails : (n, 64, 64, 3) uint8, or None when no gate will look at photos.
    source_labels : backbone → its source labels, for backbones that have a source head.

    Indexing by rows gives a table, so scikit-learn's splitters and searches work on it as on an array.
    """

    blocks: dict[str, FloatArray]
    thumbnails: npt.NDArray[np.uint8] | None = None
    source_labels: dict[str, SourceLabels] = field(default_factory=dict)
    _memory: dict[int, tuple[object, Any]] = field(default_factory=dict, repr=False, compare=False)

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
            self._memory,
        )

    def with_blocks(self, blocks: dict[str, FloatArray]) -> "FeatureTable":
        """The table with further blocks of the same photos."""
        return replace(self, blocks=self.blocks | blocks)

    def beside(self, other: "FeatureTable") -> "FeatureTable":
        """The table with the blocks that others made of the same photos."""
        blocks, source_labels = self.blocks | other.blocks, self.source_labels | other.source_labels
        return FeatureTable(blocks, self.thumbnails, source_labels)

    def names_of(self, taps: Sequence[str]) -> list[str]:
        """The names of the blocks that were read at one of these taps, in order."""
        return [name for name in self.blocks if tap_of(name) in taps]

    def side_by_side(self, names: Sequence[str]) -> FloatArray:
        """These blocks as one: (n, sum of their D). A single block is not copied."""
        blocks = [self.blocks[name] for name in names]
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)

    def concatenated(self) -> FloatArray:
        """All blocks side by side: (n, sum of D)."""
        return self.side_by_side(self.names)

    def remembered(self, whose: object, compute: Callable[[], Any]) -> Any:
        """What ``compute`` says of these photos on behalf of ``whose``: computed once, for all who ask for it again."""
        key = id(whose)
        if key not in self._memory:
            # Kept with the answer, so that nobody else can get the same id.
            self._memory[key] = whose, compute()
        return self._memory[key][1]
