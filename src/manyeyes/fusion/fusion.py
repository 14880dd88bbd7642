"""What every fusion is: a scikit-learn classifier on a feature table, or on a plain array as its only block."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from manyeyes.experts import ClassWeight, FloatArray, Groups
from manyeyes.experts.calibration import fit_temperature, tempered
from manyeyes.experts.classifier import LogProbaClassifier
from manyeyes.experts.folds import judged
from manyeyes.experts.panel import ExpertPanel
from manyeyes.experts.weights import class_weights
from manyeyes.features.table import FeatureTable


@dataclass(frozen=True)
class Lesson:
    """What a fusion learns from: n photos with their labels y, as indices into the classes too, weights, and groups.

    The weights are those of the classes, and 0 for rows that cannot be judged out of fold.
    """

    table: FeatureTable
    y: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    weights: FloatArray
    groups: Groups | None


class Fusion(LogProbaClassifier):
    """Fits on all blocks at once; its probabilities are calibrated by a temperature on out-of-fold outputs.

    With a ``class_weight`` they hold where classes occur as often as they were weighed, not as often as in training.

    Attributes
    ----------
    classes_ : (C,), sorted.
    blocks_ : names of the table's blocks, in order.
    temperature_ : what the log-probabilities are divided by.
    """

    class_weight: ClassWeight
    random_state: int

    def fit(self, X: Any, y: Any, groups: Groups | None = None, panel: ExpertPanel | None = None) -> Self:
        """Fit to a feature table (or an (n, D) array) and labels (n,).

        Rows that share one of ``groups`` (n,) are never on both sides of an inner fold. ``panel`` may hand over experts
        that were already fitted on just these rows, so that several fusions share them.
        """
        if isinstance(X, FeatureTable):
            check_consistent_length(X, y)
            y = column_or_1d(y, warn=True)
            self.n_features_in_ = X.shape[1]
            table = X
        else:
            X, y = validate_data(self, X, y, dtype=[np.float32, np.float64])
            table = FeatureTable({"features": X})
        labels = self._learn_classes(y)
        self.blocks_ = list(table.names)
        if panel is not None and panel.names_ != self.blocks_:
            theirs, ours = ", ".join(panel.names_), ", ".join(self.blocks_)
            raise ValueError(f"the panel's blocks are {theirs}, the feature table's {ours}: fit it on the same table")
        check_consistent_length(labels, groups)
        weights = class_weights(self.class_weight, self.classes_, labels) * judged(labels, groups)
        out_of_fold = self._fit(Lesson(table, y, labels, weights, groups), panel)
        self.temperature_ = fit_temperature(out_of_fold, labels, weights)
        return self

    def predict_log_proba(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        return tempered(self._log_proba(self._table(X)), self.temperature_)

    @abstractmethod
    def _fit(self, lesson: Lesson, panel: ExpertPanel | None) -> FloatArray:
        """Learn; return log-probabilities (n, C) of the training rows by what had not seen them."""

    @abstractmethod
    def _log_proba(self, table: FeatureTable) -> FloatArray:
        """Log-probabilities before calibration: (n, C)."""

    def _table(self, X: Any) -> FeatureTable:
        if not isinstance(X, FeatureTable):
            X = FeatureTable({"features": validate_data(self, X, reset=False, dtype=[np.float32, np.float64])})
        if missing := set(self.blocks_) - set(X.names):
            raise ValueError(f"the feature table lacks the blocks {', '.join(sorted(missing))}")
        table: FeatureTable = X.select(self.blocks_)
        if table.shape[1] != self.n_features_in_:
            raise ValueError(
                f"the blocks {', '.join(self.blocks_)} have {table.shape[1]} features in this table, "
                f"{type(self).__name__} was fitted on {self.n_features_in_}"
            )
        return table


class PanelFusion(Fusion):
    """A fusion of experts, one a block, whose out-of-fold opinions it learns from.

    Attributes (beside those of every fusion)
    ----------
    panel_ : the fitted experts.
    """

    expert: str
    panel_: ExpertPanel

    def _fit(self, lesson: Lesson, panel: ExpertPanel | None) -> FloatArray:
        if panel is None:
            panel = ExpertPanel(self.expert, self.class_weight, self.random_state)
            panel.fit(lesson.table, lesson.y, lesson.groups)
        self.panel_ = panel
        return self._fit_to_opinions(lesson, panel.out_of_fold_)

    @abstractmethod
    def _fit_to_opinions(self, lesson: Lesson, opinions: FloatArray) -> FloatArray:
        """Learn from the experts' out-of-fold log-probabilities (n, K, C); return the fusion's, (n, C)."""
