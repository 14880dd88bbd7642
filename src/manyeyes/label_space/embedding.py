"""Where a backbone's T best source labels place a photo: ``v~ = Σ_j p_j V_j / Σ_j p_j`` (eq. 7)."""

import numpy as np
import numpy.typing as npt

from manyeyes.features.table import FeatureTable, SourceLabels, block_name, tap_of

FloatArray = npt.NDArray[np.float32]

# The paper's T.
TOP = 5
# What is read at this tap of a backbone is its place in the label space whose name follows.
_TAP = "label-space:"


def shares(labels: SourceLabels) -> FloatArray:
    """``p_j / Σ p`` of the T best labels: (n, T), rows summing to one."""
    best = labels.probability[:, :TOP]
    of_all: FloatArray = best / best.sum(axis=1, keepdims=True)
    return of_all


def embed(labels: SourceLabels, vectors: FloatArray) -> FloatArray:
    """``v~`` of n photos, (n, d), from the label vectors V, (1000, d)."""
    placed: FloatArray = np.einsum("nt,ntd->nd", shares(labels), vectors[labels.index[:, :TOP]])
    return placed


def label_block(backbone: str, space: str) -> str:
    """The name of the block that holds a backbone's place in a label space."""
    return block_name(backbone, _TAP + space)


def is_label_block(name: str) -> bool:
    return tap_of(name).startswith(_TAP)


def has_labels(table: FeatureTable, name: str, count: int) -> bool:
    """Whether the block's backbone says of each photo which of ``count`` labels it takes it for."""
    labels = table.source_labels.get(name)
    return labels is not None and (labels.index.size == 0 or int(labels.index.max()) < count)
