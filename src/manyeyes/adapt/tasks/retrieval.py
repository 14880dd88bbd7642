"""How well photos find others of the same identity: rank-1 and mAP, by the protocol of Market-1501 (Zheng et al., ICCV
2015)."""

from typing import NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn.functional import normalize

from manyeyes.experts.folds import Rows

# The identity of a photo that counts neither as right nor as wrong: badly cut, or of nobody.
JUNK = -1
# Queries that are asked in one go.
ASKED = 128


class Shots(NamedTuple):
    """features : (n, D). identities, cameras : (n,), numbers; :data:`JUNK` is no identity."""

    features: Tensor
    identities: Rows
    cameras: Rows


def retrieval(queries: Shots, gallery: Shots) -> dict[str, float]:
    """``rank-1``, the share of queries to which the nearest photo of the gallery is right, and ``mAP``, the mean of
    their average precisions, which fall to a right photo's share of all that are as near or nearer.

    Near is by the distance of features of length 1. To each query, junk and photos of its own identity by its own
    camera are not there, and a photo of an identity that nobody asks for is wrong. Queries without a right photo left
    do not count; without any that do, there are no figures. Of photos that are equally near, each is as much the first.
    """
    near = normalize(gallery.features.double(), dim=1).numpy()
    asked = normalize(queries.features.double(), dim=1).numpy()
    firsts, precisions = [], []
    for part in np.array_split(np.arange(len(asked)), max(-(-len(asked) // ASKED), 1)):
        for query, nearness in zip(part, asked[part] @ near.T, strict=True):
            identity, camera = queries.identities[query], queries.cameras[query]
            is_same = gallery.identities == identity
            is_there = (gallery.identities != JUNK) & ~(is_same & (gallery.cameras == camera))
            right, how_near = is_same[is_there], nearness[is_there]
            if identity != JUNK and right.any():
                firsts.append(right[how_near == how_near.max()].mean())
                precisions.append(average_precision_score(right, how_near))
    return {"rank-1": float(np.mean(firsts)), "mAP": float(np.mean(precisions))} if firsts else {}
