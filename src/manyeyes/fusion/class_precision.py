"""Weights an expert and class: who is most often right when he says "daffodil" counts most when he says it.

A weighted mean with one weight for each expert and class (Kuncheva, "Combining Pattern Classifiers", Wiley 2004,
sec. 5.3); the weight is the precision of the expert's out-of-fold predictions of that class:
``f_c(x) ∝ Σ_k precision_kc · c_kc(x)``.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax, logsumexp

from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.folds import Rows
from manyeyes.experts.lesson import Lesson
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.fusion import PanelFusion
from manyeyes.fusion.held_out import hold_out

# Photos' worth of belief that an expert is as precise about every class as it is accurate over all.
PRIOR = 5.0


class ClassPrecision(PanelFusion):
    """Experts whose probability of each class is weighed by their out-of-fold precision for that class.

    Parameters
    ----------
    expert, class_weight, random_state : as in MixtureOfExperts.

    Attributes (beside those of every fusion)
    ----------
    precision_ : (K, C), shrunk towards the expert's accuracy where it seldom predicted the class.
    """

    def __init__(self, expert: str = "softmax", class_weight: ClassWeight = None, random_state: int = 0) -> None:
        self.expert = expert
        self.class_weight = class_weight
        self.random_state = random_state

    def _fit_to_opinions(self, lesson: Lesson, opinions: FloatArray) -> FloatArray:
        labels, weights = lesson.labels, lesson.weights

        def predict(train: Rows, held: Rows) -> FloatArray:
            return _weigh(shrunk_precision(opinions[train], labels[train], weights[train]), opinions[held])

        self.precision_ = shrunk_precision(opinions, labels, weights)
        alike = _weigh(np.ones(opinions.shape[1:]), opinions)
        return hold_out(labels, weights, lesson.groups, self.random_state, alike, predict)

    def _keep_experts(self, kept: list[int]) -> None:
        self.precision_ = self.precision_[kept]

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return _weigh(self.precision_, self.panel_.log_proba(table))


def shrunk_precision(opinions: FloatArray, labels: npt.NDArray[np.int64], weights: FloatArray) -> FloatArray:
    """How often each expert was right among the photos that it gave to each class: (K, C), in (0, 1).

    ``PRIOR`` photos are added to each class, of which the expert is right about the same share as over all classes.
    """
    count = opinions.shape[2]
    precision = np.empty(opinions.shape[1:])
    for k, predicted in enumerate(opinions.argmax(axis=2).T):
        counted = weights * (predicted == labels)
        accuracy = (counted.sum() + 1) / (weights.sum() + 2)  # never 0 or 1
        right = np.bincount(predicted, counted, count)
        precision[k] = (right + PRIOR * accuracy) / (np.bincount(predicted, weights, count) + PRIOR)
    return precision


def _weigh(precision: FloatArray, opinions: FloatArray) -> FloatArray:
    """``log Σ_k precision_kc c_kc``, normalised: (n, C)."""
    weighed: FloatArray = log_softmax(logsumexp(opinions + np.log(precision), axis=1), axis=1)
    return weighed
