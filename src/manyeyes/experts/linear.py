"""What the experts share that score classes by a linear map of L2-normalised blocks and calibrate the scores.

Each block's row is brought to the same length, so that no block outshouts another and no photo outshouts another.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted, validate_data

from manyeyes.experts import FloatArray
from manyeyes.experts.calibration import fit_temperature, log_loss, tempered
from manyeyes.experts.classifier import LogProbaClassifier


def unit_blocks(X: npt.NDArray[np.floating], widths: tuple[int, ...]) -> FloatArray:
    """Rows (n, D) in float64, each of the K blocks brought to length 1/√K; a block of zeros stays as it is."""
    rows = np.array(X, dtype=np.float64)
    for block in np.split(rows, np.cumsum(widths)[:-1], axis=1):
        # By its largest entry first: the square of a very large or small number is no number.
        largest = np.abs(block).max(axis=1, keepdims=True)
        np.divide(block, largest, out=block, where=largest > 0)
        length = np.linalg.norm(block, axis=1, keepdims=True) * np.sqrt(len(widths))
        np.divide(block, length, out=block, where=length > 0)
    return rows


class LinearExpert(LogProbaClassifier):
    """Classes scored by ``rows @ coef_.T + intercept_`` on L2-normalised blocks, and a temperature on the scores."""

    blocks: tuple[int, ...] | None
    coef_: FloatArray
    intercept_: FloatArray
    temperature_: float

    def predict_log_proba(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return tempered(self._rows(X) @ self.coef_.T + self.intercept_, self.temperature_)

    def _rows(self, X: npt.NDArray[np.floating]) -> FloatArray:
        return unit_blocks(X, self._widths(X.shape[1]))

    def _widths(self, columns: int) -> tuple[int, ...]:
        widths = self.blocks or (columns,)
        if sum(widths) != columns:
            raise ValueError(f"blocks {widths} want {sum(widths)} columns, X has {columns}")
        return widths


@dataclass(frozen=True)
class Opinion:
    """What held-out scores (n, C) say once they are calibrated, and how likely that makes the labels."""

    loss: float
    temperature: float
    log_proba: FloatArray


def calibrated(scores: FloatArray, labels: npt.NDArray[np.int64], judges: FloatArray) -> Opinion:
    """The opinion by the temperature of least log loss on rows weighed by ``judges``.

    Scores may be in any unit: those of a discriminant analysis in many columns are hundreds.
    """
    unit = float(scores.std()) or 1.0
    temperature = unit * fit_temperature(scores / unit, labels, judges)
    log_proba = tempered(scores, temperature)
    return Opinion(log_loss(log_proba, labels, judges), temperature, log_proba)
