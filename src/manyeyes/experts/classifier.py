"""What experts and fusions share as scikit-learn classifiers: everything that follows from their log-probabilities."""

import warnings
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from manyeyes.experts import FloatArray


class LogProbaClassifier(ClassifierMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """A classifier that says how to fit and what its log-probabilities are."""

    classes_: npt.NDArray[Any]

    @abstractmethod
    def predict_log_proba(self, X: Any) -> FloatArray:
        """Log-probabilities of ``classes_``: (n, C)."""

    def predict_proba(self, X: Any) -> FloatArray:
        """Probabilities of ``classes_``: (n, C), rows summing to one."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The most probable class of each row: (n,)."""
        best = self.predict_log_proba(X).argmax(axis=1)
        predicted: npt.NDArray[Any] = self.classes_[best]
        return predicted

    def decision_function(self, X: Any) -> FloatArray:
        """Log-probabilities (n, C), or with two classes the log-odds of the second, (n,), as scikit-learn wants it."""
        log_proba = self.predict_log_proba(X)
        return log_proba[:, 1] - log_proba[:, 0] if len(self.classes_) == 2 else log_proba

    def _learn_classes(self, y: Any) -> npt.NDArray[np.int64]:
        """Set ``classes_`` and return each row's index into it. Raises ValueError for fewer than two classes."""
        with warnings.catch_warnings():
            # Few photos of many classes are what this package is for.
            warnings.filterwarnings("ignore", "The number of unique classes is greater", UserWarning)
            check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} wants at least two classes, found 1 class: {self.classes_[0]!r}")
        return labels.astype(np.int64)
