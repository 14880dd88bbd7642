"""The mixture of experts of "All Together Now!" (eqs. 3–4): ``f(x) = Σ_k a_k(x) c_k(φ_k(x))``.

A convex combination of the experts' probabilities, with weights that a gate gives photo by photo. Trained in stages:
the experts, each on its block; then the gate, on the experts' out-of-fold outputs, because on their own training photos
all experts are right and there is nothing to learn about whom to trust.
"""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.fusion import Lesson, PanelFusion
from manyeyes.gates import GATES
from manyeyes.gates.mixing import log_weights, mix
from manyeyes.gates.training import train_gate


class MixtureOfExperts(PanelFusion):
    """Experts mixed by a gate.

    Parameters
    ----------
    gate : name of the gate: cnn, embedding, constant or uniform.
    thumbnail : side in pixels, 32 or 64, of what the cnn gate looks at.
    expert : name of the kind of expert.
    class_weight : None, "balanced", or a dict class → weight.
    random_state : seed of folds and of the gate's training.

    Attributes (beside those of every fusion)
    ----------
    gate_ : the trained gate, a torch module.
    gate_epochs_ : for how many epochs the gate was trained; 0 means that the uniform start was best.
    """

    def __init__(
        self,
        gate: str = "embedding",
        thumbnail: int = 32,
        expert: str = "softmax",
        class_weight: ClassWeight = None,
        random_state: int = 0,
    ) -> None:
        self.gate = gate
        self.thumbnail = thumbnail
        self.expert = expert
        self.class_weight = class_weight
        self.random_state = random_state

    @property
    def is_uniform(self) -> bool:
        """True when the gate weighs all experts alike on every photo: by choice, or for want of evidence."""
        return self.gate_epochs_ == 0

    def gate_weights(self, X: Any) -> FloatArray:
        """How much each expert counts for each photo: (n, K), rows summing to one, columns as ``blocks_``."""
        check_is_fitted(self)
        return np.exp(log_weights(self.gate_, self._table(X)))

    def _fit_to_opinions(self, lesson: Lesson, opinions: FloatArray) -> FloatArray:
        trained = train_gate(
            GATES[self.gate],
            lesson.table,
            opinions,
            lesson.labels,
            lesson.weights,
            lesson.groups,
            self.thumbnail,
            self.random_state,
        )
        self.gate_, self.gate_epochs_ = trained.gate, trained.epochs
        return mix(trained.held_out, opinions)

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return mix(log_weights(self.gate_, table), self.panel_.log_proba(table))
