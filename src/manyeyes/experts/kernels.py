"""RBF kernels over several blocks: rows prepared so that no block outshouts another, and their distances tap by tap."""

import numpy as np
import numpy.typing as npt

from manyeyes.backbones.nets import FINAL

Rows = npt.NDArray[np.float32]
# Rows whose distances are found in one go.
PART = 1024


def prepare(X: npt.NDArray[np.floating], widths: tuple[int, ...], taps: tuple[str, ...]) -> Rows:
    """Each block of the rows (n, D) L2-normalised, to such a length that a tap's distances are its blocks' mean.

    Final features are signed-square-rooted before; second-order blocks are roots already.
    """
    rows = X.astype(np.float32)
    for block, tap in zip(np.split(rows, np.cumsum(widths)[:-1], axis=1), taps, strict=True):
        if tap == FINAL:
            np.copysign(np.sqrt(np.abs(block)), block, out=block)
        length = np.linalg.norm(block, axis=1, keepdims=True) * np.sqrt(taps.count(tap), dtype=np.float32)
        np.divide(block, length, out=block, where=length > 0)
    return rows


def tap_distances(rows: Rows, others: Rows, widths: tuple[int, ...], taps: tuple[str, ...]) -> list[Rows]:
    """Squared distances between all prepared rows of two matrices, (n, m), for each tap as they first occur."""
    of_column = np.repeat(np.array(taps), widths)
    return [squared_distances(rows[:, of_column == tap], others[:, of_column == tap]) for tap in dict.fromkeys(taps)]


def weighted_mean(distances: list[Rows], shares: npt.NDArray[np.float64]) -> Rows:
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
