"""Blocks prepared so that none outshouts another, and the squared distances between their rows."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from manyeyes.backbones.nets import FINAL

Rows = npt.NDArray[np.float32]
# Rows whose distances are found in one go.
PART = 1024


def prepare(block: npt.NDArray[np.floating], tap: str) -> Rows:
    """One block's rows (n, D), L2-normalised; final features are signed-square-rooted before.

    Second-order blocks are roots already.
    """
    rows = block.astype(np.float32)
    if tap == FINAL:
        np.copysign(np.sqrt(np.abs(rows)), rows, out=rows)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    np.divide(rows, length, out=rows, where=length > 0)
    return rows


def weighted_mean(distances: Sequence[Rows], shares: npt.NDArray[np.float64]) -> Rows:
    """Σ share · distance, over the taps."""
    mean = np.float32(shares[0]) * distances[0]
    for share, one in zip(shares[1:], distances[1:], strict=True):
        mean += np.float32(share) * one
    return mean


def squared_distances(rows: Rows, others: Rows) -> Rows:
    """Between all rows of two matrices: (n, m).

    Found in double precision, some rows at a time, and then rounded: a row's distances do not depend on its company.
    """
    b = others.astype(np.float64)
    of_others = np.einsum("ij,ij->i", b, b)
    distances = np.empty((len(rows), len(others)), np.float32)
    for start in range(0, len(rows), PART):
        a = rows[start : start + PART].astype(np.float64)
        squares = np.einsum("ij,ij->i", a, a)[:, None] + of_others
        distances[start : start + PART] = np.maximum(squares - 2 * a @ b.T, 0)
    return distances
