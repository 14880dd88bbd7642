"""Apply a gate: its log-weights for photos, and the experts' probabilities mixed by them."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from scipy.special import log_softmax, logsumexp

from manyeyes.experts import FloatArray
from manyeyes.features.table import FeatureTable
from manyeyes.gates.gate import Gate

# Where experts are mixed: their probabilities (the paper), or the logarithms of these.
Space = Literal["probability", "log"]

# Photos that a gate looks at in one go: what its feature maps need stays small whatever the number of photos.
PART = 512


def log_weights(gate: Gate, table: FeatureTable) -> FloatArray:
    """``log a(x)`` for every row of the table: (n, K)."""
    gate.eval()
    with torch.no_grad():
        parts = [gate(gate.look(table[start : start + PART])) for start in range(0, len(table), PART)]
    return torch.cat(parts).double().numpy() if parts else np.empty((0, len(table.blocks)))


def mix(log_weights: FloatArray, log_proba: FloatArray) -> FloatArray:
    """``log Σ_k a_k c_k`` from log a (n, K) and log c (n, K, C): (n, C)."""
    mixed: FloatArray = logsumexp(log_weights[:, :, None] + log_proba, axis=1)
    return mixed


def pool(log_weights: FloatArray, log_proba: FloatArray) -> FloatArray:
    """``Σ_k a_k log c_k``, and what makes it log-probabilities, from log a (n, K) and log c (n, K, C): (n, C)."""
    pooled: FloatArray = log_softmax(np.einsum("nk,nkc->nc", np.exp(log_weights), log_proba), axis=1)
    return pooled


MIXERS: dict[Space, Callable[[FloatArray, FloatArray], FloatArray]] = {"probability": mix, "log": pool}
