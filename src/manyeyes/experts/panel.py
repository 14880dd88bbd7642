"""A panel: several experts that were fitted on the same photos, each on one block or on several side by side."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from manyeyes.experts import Expert, FloatArray
from manyeyes.experts.lesson import Lesson
from manyeyes.features.table import FeatureTable, backbone_of
from manyeyes.label_space.embedding import embed, is_label_block

# The kind of an expert, and the blocks that it looks at.
Member = tuple[str, tuple[str, ...]]


class ExpertPanel(BaseEstimator):  # type: ignore[misc]
    """Experts side by side.

    Parameters
    ----------
    members : for each of the K experts its kind and the names of its blocks. A block of a label space
        (:func:`manyeyes.label_space.embedding.label_block`) is no block of the table: the panel makes it itself.
    label_vectors : (1000, d) vectors of the source labels, or None when no expert looks at a label space.

    Attributes
    ----------
    classes_ : (C,), sorted.
    experts_ : the fitted experts.
    """

    def __init__(self, members: Sequence[Member] = (), label_vectors: npt.NDArray[np.float32] | None = None) -> None:
        self.members = members
        self.label_vectors = label_vectors

    def fit(self, lesson: Lesson) -> Self:
        """Take every expert from the lesson, where those that are not fitted yet are fitted now."""
        wider = lesson.with_blocks(self._label_blocks(lesson.table, [name for _, own in self.members for name in own]))
        return self.seat([wider.expert(kind, names) for kind, names in self.members], lesson.classes)

    def seat(self, experts: list[Expert], classes: npt.NDArray[Any]) -> Self:
        """Make it a panel of experts that were fitted elsewhere, one for each member."""
        self.experts_, self.classes_ = experts, classes
        return self

    def of(self, kept: Sequence[int]) -> "ExpertPanel":
        """The panel of these experts only, by their numbers."""
        panel = ExpertPanel(tuple(self.members[k] for k in kept), self.label_vectors)
        return panel.seat([self.experts_[k] for k in kept], self.classes_)

    @property
    def names_(self) -> list[str]:
        """Of the K experts: a single block's name, or the kind of an expert that looks at several."""
        named = [_name(*member) for member in self.members]
        return [
            name if named.count(name) == 1 else f"{name}: {kind}"
            for name, (kind, _) in zip(named, self.members, strict=True)
        ]

    @property
    def out_of_fold_(self) -> FloatArray:
        """Out-of-fold log-probabilities of the training photos: (n, K, C)."""
        return np.stack([expert.out_of_fold_ for expert in self.experts_], axis=1)

    def inputs(self, table: FeatureTable) -> FeatureTable:
        """What each expert looks at, as one block each: the table itself when every expert has a block of its own."""
        if [(name,) for name in table.names] == [names for _, names in self.members]:
            return table
        blocks = {
            own: self._wider(table, names).side_by_side(names)
            for own, (_, names) in zip(self.names_, self.members, strict=True)
        }
        return FeatureTable(blocks, table.thumbnails)

    def parts(self, names: Sequence[str], table: FeatureTable) -> dict[str, npt.NDArray[np.float32]]:
        """The blocks of these names, those of a label space among them: (n, D) each."""
        return self._wider(table, names).select(names).blocks

    def log_proba(self, table: FeatureTable) -> FloatArray:
        """Every expert's log-probabilities: (n, K, C)."""
        return np.stack([self.opinion(k, table) for k in range(len(self.experts_))], axis=1)

    def opinion(self, k: int, table: FeatureTable) -> FloatArray:
        """The k-th expert's log-probabilities: (n, C)."""
        expert, (_, names) = self.experts_[k], self.members[k]

        opinion: FloatArray = table.remembered(
            expert, lambda: expert.predict_log_proba(self._wider(table, names).side_by_side(names))
        )
        return opinion

    def _wider(self, table: FeatureTable, names: Sequence[str]) -> FeatureTable:
        """The table with those of the named blocks that lie in a label space."""
        return table.with_blocks(self._label_blocks(table, names))

    def _label_blocks(self, table: FeatureTable, names: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
        ours = [name for name in names if is_label_block(name)]
        if lacking := {backbone_of(name) for name in ours} - set(table.source_labels):
            raise ValueError(f"the feature table lacks the source labels of {', '.join(sorted(lacking))}")
        if not ours:
            return {}
        if self.label_vectors is None:
            raise ValueError("experts that look at a label space want label vectors")
        return {name: embed(table.source_labels[backbone_of(name)], self.label_vectors) for name in ours}


def _name(kind: str, names: Sequence[str]) -> str:
    seen = [name for name in names if not is_label_block(name)]
    if len(seen) == 1:
        return seen[0]
    backbones = {backbone_of(name) for name in seen}
    return backbones.pop() if len(backbones) == 1 else f"all blocks: {kind}"
