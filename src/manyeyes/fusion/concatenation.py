"""The field's strongest simple rivals: one expert on all blocks side by side."""

from typing import ClassVar

from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.lesson import Lesson
from manyeyes.experts.panel import ExpertPanel
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.fusion import Fusion


class _Concatenation(Fusion):
    """One expert on the concatenated blocks.

    Parameters
    ----------
    class_weight, random_state : as in MixtureOfExperts.

    Attributes (beside those of every fusion)
    ----------
    panel_ : a panel of the one expert.
    """

    # Name of the expert, which must take ``blocks``.
    expert: ClassVar[str]

    def __init__(self, class_weight: ClassWeight = None, random_state: int = 0) -> None:
        self.class_weight = class_weight
        self.random_state = random_state

    def _fit(self, lesson: Lesson) -> FloatArray:
        self.panel_ = ExpertPanel(((self.expert, tuple(self.blocks_)),)).fit(lesson)
        return self.panel_.out_of_fold_[:, 0]

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return self.panel_.opinion(0, table)


class ConcatSoftmax(_Concatenation):
    """Softmax regression on all columns, each standardised."""

    expert = "softmax"


class ConcatSvm(_Concatenation):
    """Linear support vector machine on L2-normalised blocks."""

    expert = "linear-svm"


class ConcatRawSvm(_Concatenation):
    """Linear support vector machine on the columns as they are: the paper's all+SVM."""

    expert = "raw-linear-svm"


class ConcatPcaSvm(_Concatenation):
    """Linear support vector machine on 1,000 principal components of L2-normalised blocks."""

    expert = "pca-linear-svm"


class ConcatRidge(_Concatenation):
    """Ridge regression on L2-normalised blocks."""

    expert = "ridge"


class ConcatKernelRidge(_Concatenation):
    """RBF kernel ridge on the mean of the blocks' squared distances."""

    expert = "kernel-ridge"


class ConcatLda(_Concatenation):
    """Shrinkage linear discriminant analysis on L2-normalised blocks."""

    expert = "lda"
