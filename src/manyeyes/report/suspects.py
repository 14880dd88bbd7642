"""Photos that somebody should look at: labels that are likely wrong, and photos that are nearly the same."""

from dataclasses import dataclass

import numpy as np
from cleanlab.filter import find_label_issues
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from manyeyes.backbones.nets import FINAL
from manyeyes.report.judged import Index, Judged

# Cosine of two photos' features, of all backbones side by side, from which on they count as nearly the same.
ALIKE = 0.95
# What neighbours are sought in; those that are found are compared in all features.
COMPONENTS, NEIGHBOURS = 64, 5
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

    The model must not have been trained on these photos. Nothing is found where a class has no photo.
    """
    present = np.unique(judged.labels)
    if len(present) < len(judged.classes):
        return np.empty(0, np.int64)
    issues: Index = find_label_issues(
        judged.labels, np.exp(judged.log_proba), return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return issues


def near_duplicates(judged: Judged) -> list[Pair]:
    """Pairs of photos that are nearly the same, the most alike first."""
    count = len(judged.labels)
    blocks = [normalize(judged.table.blocks[name]) for name in judged.table.names_of((FINAL,))]
    whole = np.concatenate(blocks, axis=1) / len(blocks) ** 0.5
    if count < 2:
        return []
    components = min(COMPONENTS, *whole.shape)
    reduced = normalize(PCA(components, svd_solver="randomized", random_state=0).fit_transform(whole))
    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS + 1, count)).fit(reduced).kneighbors(return_distance=False)
    rows = np.repeat(np.arange(count), neighbours.shape[1])
    pairs = np.unique(np.sort(np.column_stack([rows, neighbours.ravel()]), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    parts = np.array_split(pairs, len(pairs) // PART + 1)  # all at once they would take gigabytes
    cosines = np.concatenate([np.einsum("nd,nd->n", whole[part[:, 0]], whole[part[:, 1]]) for part in parts])
    found = [
        Pair(int(one), int(other), 1.0 if judged.photos[one] == judged.photos[other] else float(min(cosine, 1)))
        for (one, other), cosine in zip(pairs, cosines, strict=True)
        if cosine >= ALIKE
    ]
    return sorted(found, key=lambda pair: -pair.cosine)
