"""Stacking as in "All Together Now!" (eq. 9): ``f = g(1/K Σ_k g_k(φ_k(x)))``, a softmax regression on the mean opinion.

The paper trains the second stage on what the experts say of their own training rows, where they are all but right.
Here that is the in-sample variant; otherwise the second stage learns from out-of-fold opinions. The paper also tried
the product in place of the mean.
"""

from typing import ClassVar

import numpy as np
from scipy.special import softmax

from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.lesson import Lesson
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.fusion import PanelFusion


class Stacking(PanelFusion):
    """Experts, and a softmax regression on the mean of their probabilities.

    Parameters
    ----------
    expert, class_weight, random_state : as in MixtureOfExperts.

    Attributes (beside those of every fusion)
    ----------
    second_ : the second stage.
    """

    is_product: ClassVar[bool] = False
    is_in_sample: ClassVar[bool] = False

    def __init__(self, expert: str = "softmax", class_weight: ClassWeight = None, random_state: int = 0) -> None:
        self.expert = expert
        self.class_weight = class_weight
        self.random_state = random_state

    def _fit_to_opinions(self, lesson: Lesson, opinions: FloatArray) -> FloatArray:
        honest = self._first_stage(opinions)
        self.second_ = SoftmaxRegression(class_weight=self.class_weight, random_state=self.random_state)
        if not self.is_in_sample:
            self.second_.fit(honest, lesson.y, lesson.groups)
            return self.second_.out_of_fold_
        self.second_.fit(self._first_stage(self.panel_.log_proba(lesson.table)), lesson.y, lesson.groups)
        # Its own out-of-fold outputs rest on experts that knew the rows, and would make the temperature far too sure.
        return self.second_.predict_log_proba(honest)

    def _keep_experts(self, kept: list[int]) -> None:
        pass  # a mean of fewer is a mean

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return self.second_.predict_log_proba(self._first_stage(self.panel_.log_proba(table)))

    def _first_stage(self, opinions: FloatArray) -> FloatArray:
        """The experts' probabilities made one: (n, C)."""
        if not self.is_product:
            mean: FloatArray = np.exp(opinions).mean(axis=1)
            return mean
        # The K-th root of the product: without it many experts leave nothing between 0 and 1 to learn from.
        product: FloatArray = softmax(opinions.mean(axis=1), axis=1)
        return product


class StackingProduct(Stacking):
    """Stacking on the normalised geometric mean of the experts' probabilities."""

    is_product = True


class StackingInSample(Stacking):
    """Stacking whose second stage is trained on the experts' opinions of their own training rows, as in the paper.

    The temperature is fitted to the second stage applied to out-of-fold opinions.
    """

    is_in_sample = True


class StackingProductInSample(StackingProduct):
    """Stacking on the geometric mean, trained on the experts' own training rows as :class:`StackingInSample`."""

    is_in_sample = True
