"""Experts: one block of features → class probabilities.

An expert is a scikit-learn classifier that, once fitted, also tells its out-of-fold opinion of its own training rows
in ``out_of_fold_`` (log-probabilities, (n, C)): what it says of a row when that row was not among those it learnt
from. The gate, stacking and calibration train on that, because an expert is near-perfect on its own training rows.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from manyeyes.registry import Registry

FloatArray = npt.NDArray[np.float64]
ClassWeight = dict[Any, float] | str | None
# One entry a row: rows that share a group are never on both sides of a fold.
Groups = npt.NDArray[Any]

EXPERTS = Registry(
    "experts",
    {
        "softmax": "manyeyes.experts.softmax:SoftmaxRegression",
        "gated": "manyeyes.experts.gated:GatedSoftmax",
        "linear-svm": "manyeyes.experts.linear_svm:LinearSvm",
        "raw-linear-svm": "manyeyes.experts.linear_svm:RawLinearSvm",
        "pca-linear-svm": "manyeyes.experts.linear_svm:PcaLinearSvm",
        "ridge": "manyeyes.experts.ridge:Ridge",
        "lda": "manyeyes.experts.lda:Lda",
        "kernel-ridge": "manyeyes.experts.kernel_ridge:KernelRidge",
    },
)


class Expert(Protocol):
    classes_: npt.NDArray[Any]
    out_of_fold_: FloatArray

    def fit(self, X: Any, y: Any, groups: Groups | None = None) -> "Expert": ...

    def predict_log_proba(self, X: Any) -> FloatArray: ...
