"""Photos that somebody should look at: labels that are likely wrong, and photos that are nearly the same."""

from dataclasses import dataclass

import numpy as np
from cleanlab.filter import find_label_issues
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from manyeyes.backbones.nets import FINAL
from manyeyes.features.table import FloatArray
from manyeyes.report.judged import Index, Judged

# Cosine of two photos' features, of all backbones side by side, from which on they count as nearly the same.
ALIKE = 0.95
# Random directions that neighbours are sought in; those that are found are compared in all features.
COMPONENTS, NEIGHBOURS = 128, 5
# Pairs that are compared at once.
PART = 1000


@dataclass(frozen=True)
class Pair:
    """Two photos by their rows, and the cosine of their features; 1 for copies of one file."""

    first: int
    second: int
    cosine: float


def likely_mislabelled(judged: Judged) -> Index:
    """Rows whose labels confident learning doubts (Northcutt et al., 2021; cleanlab), the worst first.

    Sought among photos that the model was not trained on: it believes the labels of the others. Nothing is found where
    a class has no such photo.
    """
    if not can_be_sought(judged):
        return np.empty(0, np.int64)
    new = np.flatnonzero(judged.is_new)
    issues: Index = find_label_issues(
        judged.labels[new], np.exp(judged.log_proba[new]), return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return new[issues]


def can_be_sought(judged: Judged) -> bool:
    """Whether every class has a photo that the model was not trained on."""
    return len(np.unique(judged.labels[judged.is_new])) == len(judged.classes)


def near_duplicates(judged: Judged) -> list[Pair]:
    """Pairs of photos that are nearly the same, the most alike first."""
    count, blocks = len(judged.labels), [judged.table.blocks[name] for name in judged.table.names_of((FINAL,))]
    if count < 2:
        return []
    # Block by block: side by side they would take as much memory once more.
    reduced = sum(_projected(block, seed) for seed, block in enumerate(blocks))
    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS, count - 1)).fit(reduced).kneighbors(return_distance=False)
    rows = np.repeat(np.arange(count), neighbours.shape[1])
    pairs = np.unique(np.sort(np.column_stack([rows, neighbours.ravel()]), axis=1), axis=0)
    cosines = np.concatenate(
        [
            np.mean([_cosines(block[part[:, 0]], block[part[:, 1]]) for block in blocks], axis=0)
            for part in np.array_split(pairs, len(pairs) // PART + 1)
        ]
    )
    found = [
        Pair(int(one), int(other), 1.0 if judged.photos[one] == judged.photos[other] else float(min(cosine, 1)))
        for (one, other), cosine in zip(pairs, cosines, strict=True)
        if cosine >= ALIKE
    ]
    return sorted(found, key=lambda pair: -pair.cosine)


def _projected(block: FloatArray, seed: int) -> FloatArray:
    """Rows of length one in random directions, in which they are about as far apart (Johnson and Lindenstrauss)."""
    random = np.random.default_rng(seed).normal(size=(block.shape[1], COMPONENTS)).astype(np.float32)
    projected: FloatArray = normalize(block) @ random
    return projected


def _cosines(some: FloatArray, others: FloatArray) -> FloatArray:
    cosines: FloatArray = np.einsum("nd,nd->n", normalize(some), normalize(others))
    return cosines
