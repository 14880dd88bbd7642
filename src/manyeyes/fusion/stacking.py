"""Stacking as in "All Together Now!" (eq. 9): ``f = g(1/K Σ_k g_k(φ_k(x)))``, a softmax regression on the mean opinion.

The second stage is trained on the experts' out-of-fold opinions; on their own training rows they are all but right.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.panel import ExpertPanel
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.fusion import Fusion


class Stacking(Fusion):
    """Experts, and a softmax regression on the mean of their probabilities.

    Parameters
    ----------
    expert, class_weight, random_state : as in MixtureOfExperts.

    Attributes (beside those of every fusion)
    ----------
    panel_, second_ : the experts and the second stage.
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
        self.second_ = SoftmaxRegression(class_weight=self.class_weight, random_state=self.random_state)
        self.second_.fit(np.exp(self.panel_.out_of_fold_).mean(axis=1), y)
        return self.second_.out_of_fold_

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return self.second_.predict_log_proba(np.exp(self.panel_.log_proba(table)).mean(axis=1))
