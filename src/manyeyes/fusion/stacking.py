"""Stacking as in "All Together Now!" (eq. 9): ``f = g(1/K Σ_k g_k(φ_k(x)))``, a softmax regression on the mean opinion.

The second stage is trained on the experts' out-of-fold opinions; on their own training rows they are all but right.
"""

import numpy as np

from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.fusion import Lesson, PanelFusion


class Stacking(PanelFusion):
    """Experts, and a softmax regression on the mean of their probabilities.

    Parameters
    ----------
    expert, class_weight, random_state : as in MixtureOfExperts.

    Attributes (beside those of every fusion)
    ----------
    second_ : the second stage.
    """

    def __init__(self, expert: str = "softmax", class_weight: ClassWeight = None, random_state: int = 0) -> None:
        self.expert = expert
        self.class_weight = class_weight
        self.random_state = random_state

    def _fit_to_opinions(self, lesson: Lesson, opinions: FloatArray) -> FloatArray:
        self.second_ = SoftmaxRegression(class_weight=self.class_weight, random_state=self.random_state)
        self.second_.fit(np.exp(opinions).mean(axis=1), lesson.y, lesson.groups)
        return self.second_.out_of_fold_

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return self.second_.predict_log_proba(np.exp(self.panel_.log_proba(table)).mean(axis=1))
