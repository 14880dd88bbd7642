"""What columns are divided by to standardise them."""

import numpy as np

from manyeyes.experts import FloatArray


def column_scales(centred: FloatArray, mean: FloatArray, widths: tuple[int, ...]) -> FloatArray:
    """Of rows (n, D) less their mean (D,): each column's standard deviation, or its block's median one if that is more.

    ``widths`` are those of the blocks, side by side; columns of a block share their unit. A column all but dead on few
    training photos would else be stretched beyond all measure on new ones. A constant column is divided by 1.

    Raises ValueError for widths that do not add up to D.
    """
    if sum(widths) != centred.shape[1]:
        raise ValueError(f"blocks {widths} want {sum(widths)} columns, X has {centred.shape[1]}")
    scale: FloatArray = np.sqrt(np.einsum("ij,ij->j", centred, centred) / len(centred))
    varies = scale > 1e-12 * np.maximum(np.abs(mean), 1e-300)
    for columns in np.split(np.arange(len(scale)), np.cumsum(widths)[:-1]):
        alive = columns[varies[columns]]
        if len(alive):
            scale[alive] = np.maximum(scale[alive], np.median(scale[alive]))
    scale[~varies] = 1.0
    return scale
