"""The space that rows span, along its principal axes: where an L2-penalised linear model is found in n columns, not D.

Such a model lies in the span of its rows, and its penalty does not change when the axes are turned, so looking for it
there changes nothing but the time. On the principal axes the columns are uncorrelated besides: that makes ridge
regression closed-form for all strengths at once, and other solvers quick.
"""

from dataclasses import dataclass

import numpy as np

from manyeyes.experts import FloatArray

# Directions of less than this share of the strongest one's sum of squares are rounding, and so are all of less than its
# square as a share of what the rows were before their mean was subtracted.
NOISE = 1e-10


@dataclass(frozen=True)
class RowSpace:
    """n rows of D columns, less a mean, in the r ≤ min(n, D) dimensions in which they are not zero.

    rows : (n, r), columns orthogonal, the weakest first.
    spectrum : (r,) the columns' sums of squares.
    mean : (D,) what was subtracted.
    """

    rows: FloatArray
    spectrum: FloatArray
    mean: FloatArray
    # Their product is (r, D).
    _axes: tuple[FloatArray, ...]

    @classmethod
    def of(cls, X: FloatArray, mean: FloatArray) -> "RowSpace":
        """From (n, D) and (D,), by the eigenvectors of the smaller Gram matrix."""
        centred = X - mean
        tall = X.shape[0] >= X.shape[1]
        spectrum, vectors = np.linalg.eigh(centred.T @ centred if tall else centred @ centred.T)
        kept = spectrum > max(NOISE * spectrum.max(initial=0), NOISE**2 * float(np.einsum("ij,ij", X, X)))
        spectrum, vectors = spectrum[kept], vectors[:, kept]
        if tall:
            return cls(centred @ vectors, spectrum, mean, (vectors.T,))
        roots = np.sqrt(spectrum)
        return cls(vectors * roots, spectrum, mean, ((vectors / roots).T, centred))

    def strongest(self, count: int) -> "RowSpace":
        """The same along no more than ``count`` axes: the rows' principal components."""
        weak = max(len(self.spectrum) - count, 0)
        first, *rest = self._axes
        return RowSpace(self.rows[:, weak:], self.spectrum[weak:], self.mean, (first[weak:], *rest))

    def on_columns(self, coef: FloatArray, intercept: FloatArray) -> tuple[FloatArray, FloatArray]:
        """From a linear map of the axes, (C, r) and (C,), to the same map of X's columns, (C, D) and (C,)."""
        for step in self._axes:
            coef = coef @ step
        return coef, intercept - coef @ self.mean
