"""The recipe that wins: kernel ridge on all blocks of all taps, pooled log-linearly with kernel ridge on each backbone.

Final features say what is in a photo, second-order blocks how it looks close by; one kernel sees both, with the weight
between them tuned by leave-one-out, down to nothing where photos are few. The pool, a product of experts (Hinton,
2002), gives half its exponent to that kernel and half to the backbones' own. It is calibrated on leave-one-out outputs.
"""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from manyeyes.backbones.nets import FINAL, SECOND_ORDER
from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.calibration import tempered
from manyeyes.experts.kernel_ridge import KernelRidge
from manyeyes.experts.lesson import Lesson
from manyeyes.experts.panel import Member
from manyeyes.features.table import FeatureTable, backbone_of
from manyeyes.fusion.fusion import PanelFusion

KIND = "kernel-ridge"
# The exponent of the kernel on everything; the backbones' own kernels share the rest.
JOINT = 0.5


class Auto(PanelFusion):
    """A log-linear pool of kernel ridges: one on everything, one on each backbone.

    Parameters
    ----------
    class_weight, random_state : as in MixtureOfExperts.

    Attributes (beside those of every fusion)
    ----------
    exponents_ : (K,) of the experts, summing to one; the last expert is the one on everything.
    """

    taps = (FINAL, SECOND_ORDER)

    def __init__(self, class_weight: ClassWeight = None, random_state: int = 0) -> None:
        self.class_weight = class_weight
        self.random_state = random_state

    def contributions(self, table: FeatureTable) -> FloatArray:
        """What each block adds to the log-odds of a photo's class over the runner-up: (n, B), columns as ``blocks_``.

        Measured by taking the block away: its distances to the training photos are set to their mean, so that it speaks
        for no class.
        """
        check_is_fitted(self)
        table = self._table(table)
        said = self.predict_log_proba(table)
        first, second = np.argsort(-said, axis=1)[:, :2].T
        rows = np.arange(len(said))
        changes = [said - self._without(table, name) for name in self.blocks_]
        return np.stack([change[rows, first] - change[rows, second] for change in changes], axis=1)

    def _without(self, table: FeatureTable, name: str) -> FloatArray:
        """Log-probabilities (n, C) as they would be if this block said nothing."""
        opinions = self.panel_.log_proba(table)
        for k, (_, names) in enumerate(self.panel_.members):
            if name in names:
                expert: KernelRidge = self.panel_.experts_[k]  # type: ignore[assignment]
                opinions[:, k] = expert.log_proba_without(table.side_by_side(names), names.index(name))
        return tempered(self._pool(opinions), self.temperature_)

    def _members(self) -> list[Member]:
        backbones = dict.fromkeys(backbone_of(name) for name in self.blocks_)
        own = [tuple(name for name in self.blocks_ if backbone_of(name) == backbone) for backbone in backbones]
        everything = tuple(self.blocks_)
        return [(KIND, names) for names in (own if len(own) > 1 else []) + [everything]]

    def _fit_to_opinions(self, lesson: Lesson, opinions: FloatArray) -> FloatArray:
        singles = opinions.shape[1] - 1
        self.exponents_ = np.array([(1 - JOINT) / singles] * singles + [JOINT]) if singles else np.ones(1)
        return self._pool(opinions)

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return self._pool(self.panel_.log_proba(table))

    def _pool(self, opinions: FloatArray) -> FloatArray:
        pooled: FloatArray = np.einsum("nkc,k->nc", opinions, self.exponents_)
        return pooled
