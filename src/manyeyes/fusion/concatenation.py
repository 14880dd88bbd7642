"""The field's strongest simple rivals: one expert on all blocks side by side."""

from typing import ClassVar

from manyeyes.experts import EXPERTS, ClassWeight, Expert, FloatArray
from manyeyes.experts.panel import ExpertPanel
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.fusion import Fusion, Lesson


class _Concatenation(Fusion):
    """One expert on the concatenated blocks; a panel handed to ``fit`` is of no use to it.

    Parameters
    ----------
    class_weight, random_state : as in MixtureOfExperts.

    Attributes (beside those of every fusion)
    ----------
    expert_ : the fitted expert.
    """

    # Name of the expert, which must take ``blocks``.
    expert: ClassVar[str]

    def __init__(self, class_weight: ClassWeight = None, random_state: int = 0) -> None:
        self.class_weight = class_weight
        self.random_state = random_state

    def _fit(self, lesson: Lesson, panel: ExpertPanel | None) -> FloatArray:
        widths = tuple(block.shape[1] for block in lesson.table.blocks.values())
        make = EXPERTS[self.expert]
        expert: Expert = make(blocks=widths, class_weight=self.class_weight, random_state=self.random_state)
        self.expert_ = expert.fit(lesson.table.concatenated(), lesson.y, lesson.groups)
        return self.expert_.out_of_fold_

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return self.expert_.predict_log_proba(table.concatenated())


class ConcatSoftmax(_Concatenation):
    """Softmax regression on all columns, each standardised."""

    expert = "softmax"


class ConcatKernelRidge(_Concatenation):
    """RBF kernel ridge on the mean of the blocks' squared distances."""

    expert = "kernel-ridge"
