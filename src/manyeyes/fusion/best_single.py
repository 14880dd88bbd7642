"""The rival that costs least: only the expert that does best in cross-validation on the training photos."""

import numpy as np

from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.lesson import Lesson
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.fusion import PanelFusion


class BestSingle(PanelFusion):
    """The expert of highest out-of-fold accuracy; among equals, of least out-of-fold log loss.

    Parameters
    ----------
    expert, class_weight, random_state : as in MixtureOfExperts.

    Attributes (beside those of every fusion)
    ----------
    ranking_ : names of the experts' blocks, the best first.
    """

    def __init__(self, expert: str = "softmax", class_weight: ClassWeight = None, random_state: int = 0) -> None:
        self.expert = expert
        self.class_weight = class_weight
        self.random_state = random_state

    def _fit_to_opinions(self, lesson: Lesson, opinions: FloatArray) -> FloatArray:
        labels, weights = lesson.labels, lesson.weights
        right = np.average(opinions.argmax(axis=2) == labels[:, None], axis=0, weights=weights)
        likelihood = np.average(opinions[np.arange(len(labels)), :, labels], axis=0, weights=weights)
        order = sorted(range(len(right)), key=lambda k: (right[k], likelihood[k]), reverse=True)
        self.ranking_ = [self.panel_.names_[k] for k in order]
        return opinions[:, order[0]]

    @property
    def chosen_(self) -> str:
        """The name of the best expert's block."""
        return self.ranking_[0]

    def _keep_experts(self, kept: list[int]) -> None:
        self.ranking_ = [name for name in self.ranking_ if name in self.panel_.names_]

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return self.panel_.opinion(self.panel_.names_.index(self.chosen_), table)
