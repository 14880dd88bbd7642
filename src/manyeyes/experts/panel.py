"""A panel: one expert for each block of a feature table, all fitted on the same photos."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from manyeyes.experts import EXPERTS, ClassWeight, Expert, FloatArray, Groups
from manyeyes.features.table import FeatureTable


class ExpertPanel(BaseEstimator):  # type: ignore[misc]
    """Experts side by side.

    Parameters
    ----------
    expert : name of the kind of expert.
    class_weight, random_state : as the experts take them.

    Attributes
    ----------
    classes_ : (C,), sorted.
    names_ : the K blocks, in the table's order.
    experts_ : one fitted expert a block.
    """

    def __init__(self, expert: str = "softmax", class_weight: ClassWeight = None, random_state: int = 0) -> None:
        self.expert = expert
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(
        self,
        table: FeatureTable,
        y: Any,
        groups: Groups | None = None,
        done: Callable[[str], None] = lambda name: None,
    ) -> Self:
        """Fit every expert; ``done`` is called with each block's name when its expert is fitted."""
        make = EXPERTS[self.expert]
        self.names_ = list(table.names)
        self.experts_: list[Expert] = []
        for name, block in table.blocks.items():
            expert = make(class_weight=self.class_weight, random_state=self.random_state)
            self.experts_.append(expert.fit(block, y, groups))
            done(name)
        self.classes_: npt.NDArray[Any] = self.experts_[0].classes_
        return self

    @property
    def out_of_fold_(self) -> FloatArray:
        """Out-of-fold log-probabilities of the training photos: (n, K, C)."""
        return np.stack([expert.out_of_fold_ for expert in self.experts_], axis=1)

    def log_proba(self, table: FeatureTable) -> FloatArray:
        """Every expert's log-probabilities: (n, K, C)."""
        opinions = [
            expert.predict_log_proba(table.blocks[name])
            for name, expert in zip(self.names_, self.experts_, strict=True)
        ]
        return np.stack(opinions, axis=1)
