"""A lesson: labelled photos to learn from, and the experts that were fitted on them, each once, whoever asks for it."""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_consistent_length

from manyeyes.experts import EXPERTS, ClassWeight, Expert, FloatArray, Groups
from manyeyes.experts.folds import judged
from manyeyes.experts.weights import class_weights
from manyeyes.features.table import FeatureTable


class Lesson:
    """n photos with their labels, and what all that learns from them has in common.

    Parameters
    ----------
    table, y : the photos' features, and their labels (n,).
    groups : (n,) or None; rows of one group are never on both sides of an inner fold.
    class_weight, random_state : as the experts take them.
    judges : (n,) bool or None for all; rows that can say how good something is. Others may flatter: those that
        backbones were adapted to.
    fitted : called with a name for each expert when it has been fitted.

    Attributes
    ----------
    classes, labels : (C,) sorted, and each row's index into it, (n,).
    weights : (n,) of the classes, and 0 for rows that cannot be judged out of fold or are no judges.
    """

    def __init__(
        self,
        table: FeatureTable,
        y: Any,
        groups: Groups | None = None,
        class_weight: ClassWeight = None,
        random_state: int = 0,
        fitted: Callable[[str], None] = lambda name: None,
        judges: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        check_consistent_length(table, y, groups)
        self.table, self.y, self.groups = table, np.asarray(y), groups
        self.class_weight, self.random_state = class_weight, random_state
        self.classes, labels = np.unique(self.y, return_inverse=True)
        self.labels: npt.NDArray[np.int64] = labels.astype(np.int64)
        self.weights: FloatArray = class_weights(class_weight, self.classes, self.labels) * judged(self.labels, groups)
        if judges is not None and (self.weights * judges).any():
            self.weights = self.weights * judges
        self._fitted = fitted
        self._experts: dict[tuple[str, tuple[str, ...]], Expert] = {}

    def with_blocks(self, blocks: dict[str, npt.NDArray[np.float32]]) -> Self:
        """The same lesson with further blocks, name → (n, D). Experts that are fitted for one are there for both."""
        wider = copy(self)
        wider.table = self.table.with_blocks(blocks)
        return wider

    def of_blocks(self, names: Sequence[str]) -> Self:
        """The same lesson with only these blocks; as above with the experts."""
        narrower = copy(self)
        narrower.table = self.table.select(names)
        return narrower

    def expert(self, kind: str, names: Sequence[str]) -> Expert:
        """The expert of this kind on the named blocks side by side, fitted when it is first asked for."""
        key = kind, tuple(names)
        if key not in self._experts:
            self._experts[key] = self._make(kind, names).fit(self.table.side_by_side(names), self.y, self.groups)
            self._fitted(f"{kind} on {names[0] if len(names) == 1 else f'{len(names)} blocks'}")
        return self._experts[key]

    def _make(self, kind: str, names: Sequence[str]) -> Expert:
        options: dict[str, Any] = {"class_weight": self.class_weight, "random_state": self.random_state}
        if len(names) > 1:
            options["blocks"] = tuple(self.table.blocks[name].shape[1] for name in names)
        expert: Expert = EXPERTS[kind](**options)
        return expert
