"""Distances in which what photos of one class differ in counts little: rows whitened by their within-class scatter.

Light, pose and background set photos of one class apart and say nothing of the class. With S the scatter of the
training rows z about their class means, and a shrinkage λ (Friedman, 1989), the similarity of a and b is
(a - μ)ᵀ (S + λI)⁻¹ (b - μ), and their squared distance 2 - 2 cos. It is found from inner products alone: where Z are
the centred rows and D the rows less their class means, the similarities are (ZZᵀ - ZDᵀ (DDᵀ + λI)⁻¹ DZᵀ) / λ.

A training row has a part in S, a new photo has not, so leaving rows out of a model on these distances is no honest
test of it unless they are left out of S as well. That changes (S + λI)⁻¹ by the rank of those rows, in closed form.
"""

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular

from manyeyes.experts import FloatArray
from manyeyes.experts.kernels import PART, Rows
from manyeyes.experts.leave_out import RowsOfGroups

# λ in units of the mean eigenvalue of S. From 0.01 to 0.1 it makes little difference.
SHRINKAGE = 0.03


class WithinClassMetric:
    """The whitened distances of one block, learnt from labelled rows.

    Parameters
    ----------
    rows : (n, D) prepared rows (:func:`manyeyes.experts.kernels.prepare`).
    labels : (n,) indices of their classes.
    """

    def __init__(self, rows: Rows, labels: npt.NDArray[np.int64]) -> None:
        self._rows = rows
        self._members = np.eye(int(labels.max()) + 1)[labels]
        self._counts = self._members.sum(axis=0)
        gram = rows.astype(np.float64) @ rows.astype(np.float64).T
        self._mean, self._grand_mean = gram.mean(axis=0), float(gram.mean())

        centred = self._centred(gram)
        from_class_means = self._less_class_means(centred)
        scatter = self._less_class_means(from_class_means.T)
        # Where every class has one photo only there is no scatter: all directions are alike.
        self._shrinkage = SHRINKAGE * float(np.trace(scatter)) / min(rows.shape) or 1.0
        scatter[np.diag_indices_from(scatter)] += self._shrinkage
        self._factor = cholesky(scatter, lower=True, overwrite_a=True, check_finite=False)
        self._explained = solve_triangular(self._factor, from_class_means.T, lower=True, check_finite=False)
        self._norms = (np.diag(centred) - np.einsum("ij,ij->j", self._explained, self._explained)) / self._shrinkage

    def to(self, new: Rows) -> Rows:
        """Squared distances of new prepared rows to the training rows: (m, n)."""
        parts = [self._to(new[start : start + PART].astype(np.float64)) for start in range(0, len(new), PART)]
        return np.concatenate(parts) if parts else np.empty((0, len(self._rows)), np.float32)

    def between(self, together: RowsOfGroups) -> tuple[Rows, Rows]:
        """Squared distances between the training rows, and those that each row would have as a new photo: (n, n) both.

        In the second matrix row i holds its distances in the metric without it; a row of one of the groups
        ``together`` has those in the metric without its whole group.
        """
        centred = self._centred(self._rows.astype(np.float64) @ self._rows.astype(np.float64).T)
        similar = (centred - self._explained.T @ self._explained) / self._shrinkage
        # ⟨zᵢ, (S + λI)⁻¹ dⱼ⟩ and ⟨dᵢ, (S + λI)⁻¹ dⱼ⟩, where dⱼ is row j less its class mean.
        to_deviations = self._less_class_means(similar)
        deviations = self._less_class_means(to_deviations.T).T
        counts = self._members @ self._counts
        change = 1 / (np.where(counts > 1, (counts - 1) / counts, 1) - np.diag(deviations))
        left_out = similar + (change * np.diag(to_deviations))[:, None] * to_deviations.T
        own = self._norms + change * np.diag(to_deviations) ** 2
        others = self._norms + change[:, None] * to_deviations.T**2
        for rows in together:
            seen = to_deviations[:, rows] @ self._change_without(rows, deviations[np.ix_(rows, rows)])
            left_out[rows] = similar[rows] + seen[rows] @ to_deviations[:, rows].T
            own[rows] = self._norms[rows] + np.einsum("ij,ij->i", seen[rows], to_deviations[np.ix_(rows, rows)])
            others[rows] = self._norms + np.einsum("ij,ij->i", seen, to_deviations[:, rows])
        return _apart(similar, self._norms, self._norms), _apart(left_out, own, others)

    def _to(self, new: FloatArray) -> Rows:
        gram = new @ self._rows.astype(np.float64).T
        centred = self._centred(gram)
        explained = solve_triangular(self._factor, self._less_class_means(centred).T, lower=True, check_finite=False)
        lengths = np.einsum("ij,ij->i", new, new) - 2 * gram.mean(axis=1) + self._grand_mean
        norms = (lengths - np.einsum("ij,ij->j", explained, explained)) / self._shrinkage
        return _apart((centred - explained.T @ self._explained) / self._shrinkage, norms, self._norms)

    def _centred(self, gram: FloatArray) -> FloatArray:
        """From inner products with the training rows, (m, n), to those after the rows' mean was subtracted."""
        centred: FloatArray = gram - gram.mean(axis=1, keepdims=True) - self._mean + self._grand_mean
        return centred

    def _less_class_means(self, similar: FloatArray) -> FloatArray:
        """From similarities to the n training rows, (m, n), to those to the rows less their class means."""
        less: FloatArray = similar - (similar @ (self._members / self._counts)) @ self._members.T
        return less

    def _change_without(self, rows: npt.NDArray[np.int64], deviations: FloatArray) -> FloatArray:
        """(B⁻¹ - D (S + λI)⁻¹ Dᵀ)⁻¹, where DᵀBD is what S loses with these rows: their deviations, and their mean's."""
        members = self._members[rows]
        gone = members.sum(axis=0)
        # A class all of whose photos are left out has no mean that could move.
        moved = members * np.where(self._counts > gone, 1 / np.maximum(self._counts - gone, 1), 0)
        lost = np.eye(len(rows)) + moved @ members.T
        change: FloatArray = np.linalg.inv(np.linalg.inv(lost) - deviations).astype(np.float64)
        return change


def _apart(similar: FloatArray, norms: FloatArray, others: FloatArray) -> Rows:
    """2 - 2 cos, from inner products (m, n) and squared lengths (m,) and (n,) or (m, n). What has no length is at 2."""
    lengths = np.sqrt(np.maximum(norms, 0))[:, None] * np.sqrt(np.maximum(others, 0))
    cosine = np.divide(similar, lengths, out=np.zeros_like(similar), where=lengths > 1e-12)
    apart: Rows = np.maximum(2 - 2 * cosine, 0).astype(np.float32)
    return apart
