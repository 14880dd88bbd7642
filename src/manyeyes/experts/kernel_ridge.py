"""RBF kernel ridge over several blocks at once, tuned in closed form by leave-one-out, with calibrated probabilities.

Each block is signed-square-rooted and L2-normalised; the squared distance is the mean of the blocks' squared distances,
so that no block outshouts another. One-hot targets, centred by the class shares, are regressed on the kernel, and a
temperature makes the outputs probabilities. With more rows than ``landmarks`` the kernel is approximated from that many
of them (Nyström).
"""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from manyeyes.experts import ClassWeight, FloatArray, Groups
from manyeyes.experts.calibration import fit_temperature, log_loss, tempered
from manyeyes.experts.classifier import LogProbaClassifier
from manyeyes.experts.folds import judged
from manyeyes.experts.weights import class_weights

# Widths in units of the median squared distance, ridge strengths in units of the kernel's diagonal (1).
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
STRENGTHS = tuple(float(strength) for strength in 10.0 ** np.arange(-4.0, 1.5, 0.5))


class KernelRidge(LogProbaClassifier):
    """RBF kernel ridge classifier with leave-one-out tuning.

    Parameters
    ----------
    blocks : widths of the blocks, side by side in X; None for a single block.
    class_weight : None, "balanced", or a dict class → weight.
    landmarks : rows that span the kernel; with no more rows than that it is exact.
    random_state : seed of the choice of landmarks.

    Attributes
    ----------
    classes_ : (C,), sorted.
    gamma_, strength_, temperature_ : kernel exp(-gamma d²), ridge strength, divisor of the outputs.
    landmarks_, coef_, intercept_ : (m, D) prepared rows, (m, C), (C,).
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
        weights = class_weights(self.class_weight, self.classes_, labels)
        judges = weights * judged(labels, groups)
        rows = self._prepare(X)
        targets = np.eye(len(self.classes_))[labels]
        self.intercept_ = np.average(targets, axis=0, weights=weights)
        self.landmarks_ = rows[self._choose_landmarks(len(rows))]
        distances = _squared_distances(rows, self.landmarks_)
        exact = len(rows) == len(self.landmarks_)
        between = distances if exact else _squared_distances(self.landmarks_, self.landmarks_)
        typical = float(np.median(distances[distances > 1e-9])) if (distances > 1e-9).any() else 1.0

        best = np.inf
        for width in WIDTHS:
            gamma = 1 / (width * typical)
            kernel = np.exp(-gamma * distances)
            ridge = _LeaveOneOut(kernel, np.exp(-gamma * between), targets - self.intercept_, weights, groups)
            for strength in STRENGTHS:
                outputs = ridge.outputs(strength) + self.intercept_
                temperature = fit_temperature(outputs, labels, judges)
                log_proba = tempered(outputs, temperature)
                loss = log_loss(log_proba, labels, judges)
                if loss < best:
                    best = loss
                    self.gamma_, self.strength_, self.temperature_ = gamma, strength, temperature
                    self.out_of_fold_ = log_proba
                    self.coef_ = ridge.coefficients(strength)
        return self

    def predict_log_proba(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        rows = self._prepare(validate_data(self, X, reset=False, dtype=[np.float32, np.float64]))
        kernel = np.exp(-self.gamma_ * _squared_distances(rows, self.landmarks_))
        return tempered(kernel @ self.coef_ + self.intercept_, self.temperature_)

    def _prepare(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Signed square root, then each block to length 1/√(number of blocks): distances come out as the mean.

        Rounded to float32, which halves what a bundle holds; all arithmetic on it is done in float64.
        """
        widths = self.blocks or (X.shape[1],)
        if sum(widths) != X.shape[1]:
            raise ValueError(f"blocks {widths} want {sum(widths)} columns, X has {X.shape[1]}")
        rooted = np.sign(X) * np.sqrt(np.abs(X, dtype=np.float64))
        for block in np.split(rooted, np.cumsum(widths)[:-1], axis=1):
            length = np.linalg.norm(block, axis=1, keepdims=True) * np.sqrt(len(widths))
            np.divide(block, length, out=block, where=length > 0)
        prepared: npt.NDArray[np.float32] = rooted.astype(np.float32)
        return prepared

    def _choose_landmarks(self, count: int) -> npt.NDArray[np.int64]:
        if count <= self.landmarks:
            return np.arange(count)
        return np.sort(np.random.default_rng(self.random_state).choice(count, self.landmarks, replace=False))


class _LeaveOneOut:
    """Weighted ridge on the kernel's feature map, all strengths from one eigendecomposition.

    With K_mm = L Lᵀ, features Φ = K_nm L⁻ᵀ and S(λ) = (ΦᵀWΦ + λI)⁻¹, the prediction for row i when it is left out is
    (ŷ_i - h_i y_i) / (1 - h_i), with h_i = w_i φ_iᵀ S φ_i. Rows of one group are left out together.
    """

    def __init__(
        self,
        kernel: FloatArray,
        between: FloatArray,
        targets: FloatArray,
        weights: FloatArray,
        groups: Groups | None,
    ) -> None:
        factor = np.linalg.cholesky(between + 1e-7 * np.eye(len(between)))
        self._to_landmarks = solve_triangular(factor, np.eye(len(factor)), lower=True).T
        features = kernel @ self._to_landmarks
        self._spectrum, self._basis = np.linalg.eigh((features * weights[:, None]).T @ features)
        self._rotated = features @ self._basis
        self._moment = self._rotated.T @ (targets * weights[:, None])
        self._targets, self._weights = targets, weights
        self._together = _rows_of_each_group(groups)

    def outputs(self, strength: float) -> FloatArray:
        """Leave-one-out predictions of all rows: (n, C)."""
        shrunk = self._rotated / (self._spectrum + strength)
        leverage = np.minimum(self._weights * np.einsum("ij,ij->i", shrunk, self._rotated), 1 - 1e-9)[:, None]
        fitted = shrunk @ self._moment
        result: FloatArray = (fitted - leverage * self._targets) / (1 - leverage)
        for rows in self._together:
            # The same for a block of rows: y - (I - H)⁻¹ (y - ŷ), H the block of the hat matrix.
            hat = shrunk[rows] @ self._rotated[rows].T * self._weights[rows]
            residual = self._targets[rows] - fitted[rows]
            result[rows] = self._targets[rows] - np.linalg.solve((1 + 1e-9) * np.eye(len(rows)) - hat, residual)
        return result

    def coefficients(self, strength: float) -> FloatArray:
        """Weights on the landmarks' kernel columns: (m, C)."""
        in_features = self._basis @ (self._moment / (self._spectrum + strength)[:, None])
        result: FloatArray = self._to_landmarks @ in_features
        return result


def _rows_of_each_group(groups: Groups | None) -> list[npt.NDArray[np.int64]]:
    """The rows of each group that has more than one."""
    if groups is None:
        return []
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return [np.flatnonzero(index == group) for group in np.flatnonzero(counts > 1)]


def _squared_distances(rows: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> FloatArray:
    """Between all rows of two matrices: (n, m). In float64, for close rows all but cancel."""
    a, b = rows.astype(np.float64), others.astype(np.float64)
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :]
    distances: FloatArray = np.maximum(squares - 2 * a @ b.T, 0)
    return distances
