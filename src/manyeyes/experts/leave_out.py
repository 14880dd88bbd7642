"""Weighted kernel ridge regression, solved together with what it says of each row when that row was left out.

With A = K + λ W⁻¹ and coefficients α = A⁻¹ Y, the prediction for row i by the others is y_i - α_i / (A⁻¹)_ii, and for
the rows G of a group by all others Y_G - ((A⁻¹)_GG)⁻¹ α_G: exact, for the price of one inverse. The coefficients that
the others would have without G are α - (A⁻¹)_:G ((A⁻¹)_GG)⁻¹ α_G.

Where there are too many rows for that, m of them are landmarks. With K_mm = L Lᵀ, features Φ = K_nm L⁻ᵀ and hat matrix
H = Φ (ΦᵀWΦ + λI)⁻¹ ΦᵀW, the left-out rows of a group get Y_G - (I - H_GG)⁻¹ (Y_G - (H Y)_G).
"""

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import get_lapack_funcs

from manyeyes.experts import FloatArray, Groups

RowsOfGroups = list[npt.NDArray[np.int64]]


def solve_leaving_out(
    kernel: FloatArray,
    targets: FloatArray,
    strength: float,
    weights: FloatArray,
    together: RowsOfGroups,
    as_new: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """(outputs of left-out rows, coefficients), both (n, C), from a kernel (n, n) that may be written over.

    ``strength`` is λ, ``weights`` (n,) count the rows, ``together`` are the groups of more than one row, which are left
    out as a whole. Where the kernel itself was learnt from the rows, row i of ``as_new`` (n, n) is what it would be
    between row i as a new one and the others: α of the others, found without row i, then meets that row.
    """
    # A weight of zero would be an infinite penalty.
    kernel[np.diag_indices_from(kernel)] += strength / np.maximum(weights, 1e-9)
    inverse = _inverse(kernel)
    coefficients = inverse @ targets
    without = coefficients / np.diag(inverse)[:, None]
    for rows in together:
        without[rows] = np.linalg.solve(inverse[np.ix_(rows, rows)], coefficients[rows])
    if as_new is None:
        return targets - without, coefficients
    outputs = as_new @ coefficients - np.einsum("ij,ij->i", as_new, inverse)[:, None] * without
    for rows in together:
        outputs[rows] = as_new[rows] @ (coefficients - inverse[:, rows] @ without[rows])
    return outputs, coefficients


def solve_on_landmarks(
    kernel: FloatArray,
    between: FloatArray,
    targets: FloatArray,
    strength: float,
    weights: FloatArray,
    together: RowsOfGroups,
) -> tuple[FloatArray, FloatArray]:
    """The same from the kernel between rows and landmarks (n, m) and that between landmarks (m, m).

    The coefficients, (m, C), belong to the landmarks.
    """
    m = len(between)
    factor = np.linalg.cholesky(between + 1e-7 * np.eye(m))
    to_features = solve_triangular(factor, np.eye(m), lower=True).T
    features = kernel @ to_features
    weighted = features * weights[:, None]
    inverse = _inverse(weighted.T @ features + strength * np.eye(m))
    shrunk = features @ inverse
    moment = weighted.T @ targets
    fitted = shrunk @ moment
    leverage = np.minimum(np.einsum("ij,ij->i", shrunk, weighted), 1 - 1e-9)[:, None]
    outputs = (fitted - leverage * targets) / (1 - leverage)
    for rows in together:
        hat = shrunk[rows] @ weighted[rows].T
        residual = targets[rows] - fitted[rows]
        outputs[rows] = targets[rows] - np.linalg.solve((1 + 1e-9) * np.eye(len(rows)) - hat, residual)
    return outputs, to_features @ (inverse @ moment)


def rows_of_each_group(groups: Groups | None) -> list[npt.NDArray[np.int64]]:
    """The rows of each group that has more than one."""
    if groups is None:
        return []
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return [np.flatnonzero(index == group) for group in np.flatnonzero(counts > 1)]


def _inverse(matrix: FloatArray) -> FloatArray:
    """Of a symmetric positive definite matrix, by its Cholesky factor; written over."""
    factorise, invert = get_lapack_funcs(("potrf", "potri"), (matrix,))
    factor, failed = factorise(matrix, lower=True, overwrite_a=True, clean=False)
    if failed:
        raise np.linalg.LinAlgError("the kernel matrix is not positive definite")
    inverse, _ = invert(factor, lower=True, overwrite_c=True)
    lower = np.tril(inverse)
    whole: FloatArray = lower + np.tril(lower, -1).T
    return whole
