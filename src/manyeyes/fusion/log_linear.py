"""The product of experts with learnt exponents, or logarithmic opinion pool: ``log f = Σ_k b_k log c_k + const``.

Heskes, "Selecting weighting factors in logarithmic opinion pools", NIPS 1997. A product lets an expert who is sure that
a photo is NOT of some class veto it, where a mean only counts who is for it.
"""

from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.lesson import Lesson
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.exponents import learn_exponents, pool
from manyeyes.fusion.fusion import PanelFusion
from manyeyes.fusion.greedy import shares_of


class LogLinearPool(PanelFusion):
    """Experts pooled log-linearly, with one exponent each that is learnt from their out-of-fold opinions.

    Parameters
    ----------
    expert, class_weight, random_state : as in MixtureOfExperts.

    Attributes (beside those of every fusion)
    ----------
    exponents_ : (K,), none negative; their sum is free.
    strength_ : of the penalty on exponents that differ, chosen by inner cross-validation.
    """

    def __init__(self, expert: str = "softmax", class_weight: ClassWeight = None, random_state: int = 0) -> None:
        self.expert = expert
        self.class_weight = class_weight
        self.random_state = random_state

    def _fit_to_opinions(self, lesson: Lesson, opinions: FloatArray) -> FloatArray:
        learnt = learn_exponents(opinions, lesson.labels, lesson.weights, lesson.groups, self.random_state)
        self.exponents_, self.strength_ = learnt.values, learnt.strength
        return learnt.held_out

    def _keep_experts(self, kept: list[int]) -> None:
        self.exponents_ = shares_of(self.exponents_, kept)

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return pool(self.exponents_, self.panel_.log_proba(table))
