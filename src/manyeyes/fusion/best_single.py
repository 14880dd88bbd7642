"""The rival that costs least: only the expert that does best in cross-validation on the training photos."""

from typing import Any

import numpy as np
import numpy.typing as npt

from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.panel import ExpertPanel
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.fusion import Fusion


class BestSingle(Fusion):
    """The expert of highest out-of-fold accuracy; among equals, of least out-of-fold log loss.

    Parameters
    ----------
    expert, class_weight, random_state : as in MixtureOfExperts.

    Attributes (beside those of every fusion)
    ----------
    panel_, chosen_ : the experts, and the name of the chosen one's block.
    """

    def __init__(self, expert: str = "softmax", class_weight: ClassWeight = None, random_state: int = 0) -> None:
        self.expert = expert
        self.class_weight = class_weight
        self.random_state = random_state

    def _fit(
        self,
        table: FeatureTable,
        y: npt.NDArray[Any],
        labels: npt.NDArray[np.int64],
        weights: FloatArray,
        panel: ExpertPanel | None,
    ) -> FloatArray:
        self.panel_ = panel or ExpertPanel(self.expert, self.class_weight, self.random_state).fit(table, y)
        opinions = self.panel_.out_of_fold_
        right = np.average(opinions.argmax(axis=2) == labels[:, None], axis=0, weights=weights)
        likelihood = np.average(opinions[np.arange(len(labels)), :, labels], axis=0, weights=weights)
        best = max(range(len(right)), key=lambda k: (right[k], likelihood[k]))
        self.chosen_ = self.blocks_[best]
        return opinions[:, best]

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return self.panel_.experts_[self.blocks_.index(self.chosen_)].predict_log_proba(table.blocks[self.chosen_])
