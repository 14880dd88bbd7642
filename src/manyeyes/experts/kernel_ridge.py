"""RBF kernel ridge on several blocks at once.

Each block is signed-square-rooted and L2-normalised; the squared distance is the mean of the blocks' squared distances,
so that no block outshouts another.
"""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from manyeyes.backbones.nets import FINAL
from manyeyes.experts import ClassWeight, FloatArray, Groups
from manyeyes.experts.classifier import LogProbaClassifier
from manyeyes.experts.distance_ridge import DistanceRidge, Distances, Problem, choose_landmarks
from manyeyes.experts.kernels import Rows, prepare, squared_distances


class KernelRidge(LogProbaClassifier):
    """RBF kernel ridge classifier with leave-one-out tuning (:mod:`manyeyes.experts.distance_ridge`).

    Parameters
    ----------
    blocks : widths of the blocks, side by side in X; None for a single block.
    class_weight : None, "balanced", or a dict class → weight.
    landmarks : rows that span the kernel; with no more rows than that it is exact.
    random_state : seed of the choice of landmarks.

    Attributes
    ----------
    classes_ : (C,), sorted.
    landmarks_ : (m, D) float16 prepared rows.
    ridge_ : the kernel and its coefficients.
    out_of_fold_ : (n, C) leave-one-out log-probabilities of the training rows.

    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0], [0.1, 1.0]])
    >>> KernelRidge().fit(X, ["east", "east", "north", "north"]).predict([[2.0, 0.1]]).tolist()
    ['east']
    """

    def __init__(
        self,
        blocks: tuple[int, ...] | None = None,
        class_weight: ClassWeight = None,
        landmarks: int = 3000,
        random_state: int = 0,
    ) -> None:
        self.blocks = blocks
        self.class_weight = class_weight
        self.landmarks = landmarks
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Groups | None = None) -> Self:
        """Learn from (n, D) and labels (n,); with ``groups`` (n,), whole groups are left out when tuning."""
        X, y = validate_data(self, X, y, dtype=[np.float32, np.float64])
        labels = self._learn_classes(y)
        check_consistent_length(X, groups)
        rows = self._rows(X)
        chosen = choose_landmarks(len(rows), self.landmarks, self.random_state)
        # What a bundle keeps; a rounding of half a thousandth changes no prediction.
        self.landmarks_ = rows[chosen].astype(np.float16)
        # Landmarks are as far from one another as they will be from new rows: both as they are kept.
        rows[chosen] = self.landmarks_
        problem = Problem.of(self.classes_, labels, self.class_weight, groups)
        self.ridge_ = DistanceRidge().fit(Distances([self._distances(rows)], None, chosen), problem)
        self.out_of_fold_: FloatArray = self.ridge_.out_of_fold_
        return self

    def predict_log_proba(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float32, np.float64])
        return self.ridge_.log_proba([self._distances(self._rows(X))])

    def _rows(self, X: npt.NDArray[np.floating]) -> Rows:
        widths = self.blocks or (X.shape[1],)
        if sum(widths) != X.shape[1]:
            raise ValueError(f"blocks {widths} want {sum(widths)} columns, X has {X.shape[1]}")
        blocks = np.split(X, np.cumsum(widths)[:-1], axis=1)
        return np.concatenate([prepare(block, FINAL) for block in blocks], axis=1)

    def _distances(self, rows: Rows) -> Rows:
        """Mean squared distances of prepared rows to the landmarks."""
        return squared_distances(rows, self.landmarks_.astype(np.float32)) / np.float32(len(self.blocks or (1,)))
