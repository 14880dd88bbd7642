"""Ensemble selection (Caruana et al., "Ensemble Selection from Libraries of Models", ICML 2004).

Experts are added one by one, the same one as often as it helps, each time the one with which the mean of probabilities
has the least log loss on out-of-fold opinions. It starts with the best few experts ("sorted initialisation"), so that
it is not led astray by the first picks; and it is done over and over with a few experts drawn at random to pick from
("bagged ensemble selection"), because one selection from all of them trusts the luckiest too much: on average over
five photo sets that lost to the plain mean.
"""

import numpy as np

from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.folds import Rows
from manyeyes.experts.lesson import Lesson
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.fusion import PanelFusion
from manyeyes.fusion.held_out import hold_out
from manyeyes.gates.mixing import mix

BAGS = 20
# How many of the experts are in a bag, and two at least.
SHARE = 0.3
PICKS = 20


class GreedyEnsemble(PanelFusion):
    """A mean of experts' probabilities, weighted by how often bagged greedy selection picked each.

    Parameters
    ----------
    expert, class_weight, random_state : as in MixtureOfExperts.

    Attributes (beside those of every fusion)
    ----------
    weights_ : (K,) of the experts, summing to one.
    """

    def __init__(self, expert: str = "softmax", class_weight: ClassWeight = None, random_state: int = 0) -> None:
        self.expert = expert
        self.class_weight = class_weight
        self.random_state = random_state

    def _fit_to_opinions(self, lesson: Lesson, opinions: FloatArray) -> FloatArray:
        labels, weights = lesson.labels, lesson.weights
        likelihoods = np.exp(opinions[np.arange(len(labels)), :, labels])

        def predict(train: Rows, held: Rows) -> FloatArray:
            return _mean(bagged(likelihoods[train], weights[train], self.random_state), opinions[held])

        self.weights_ = bagged(likelihoods, weights, self.random_state)
        uniform = np.full(opinions.shape[1], 1 / opinions.shape[1])
        return hold_out(labels, weights, lesson.groups, self.random_state, _mean(uniform, opinions), predict)

    def _keep_experts(self, kept: list[int]) -> None:
        self.weights_ = shares_of(self.weights_, kept)

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return _mean(self.weights_, self.panel_.log_proba(table))


def shares_of(weights: FloatArray, kept: list[int]) -> FloatArray:
    """Of these experts only, with the same sum; all alike when none of them had any."""
    own = weights[kept]
    return own * weights.sum() / own.sum() if own.any() else np.full(len(own), weights.sum() / len(own))


def bagged(likelihoods: FloatArray, weights: FloatArray, seed: int) -> FloatArray:
    """The mean share of each expert over random bags of experts: (K,). Parameters as of :func:`pick_greedily`."""
    count = likelihoods.shape[1]
    size = min(max(2, round(SHARE * count)), count)
    random = np.random.default_rng(seed)
    shares = np.zeros(count)
    for _ in range(BAGS):
        bag = random.choice(count, size, replace=False)
        shares[bag] += pick_greedily(likelihoods[:, bag], weights) / BAGS
    return shares


def pick_greedily(likelihoods: FloatArray, weights: FloatArray) -> FloatArray:
    """Each expert's share of the picks, (K,), from the probabilities (n, K) that the experts give the true classes.

    ``weights`` (n,) count the rows. Of all ensembles on the way the one of least log loss is taken, the smallest of
    those if there are several.
    """

    def losses(sums: FloatArray, count: int) -> FloatArray:
        """Of ensembles of ``count`` picks whose probabilities of the truth add up to the columns."""
        loss: FloatArray = -np.average(np.log(np.maximum(sums / count, 1e-15)), axis=0, weights=weights)
        return loss

    by_loss = np.argsort(losses(likelihoods, 1), kind="stable")
    sizes = np.arange(1, len(by_loss) + 1)
    starts = losses(np.cumsum(likelihoods[:, by_loss], axis=1) / sizes, 1)
    size = int(starts.argmin()) + 1
    picks = by_loss[:size].tolist()
    best, best_size = float(starts.min()), size

    together = likelihoods[:, picks].sum(axis=1, keepdims=True)
    while len(picks) < PICKS:
        candidates = losses(together + likelihoods, len(picks) + 1)
        chosen = int(candidates.argmin())
        picks.append(chosen)
        together += likelihoods[:, [chosen]]
        if candidates[chosen] < best - 1e-12:
            best, best_size = float(candidates[chosen]), len(picks)
    return np.bincount(picks[:best_size], minlength=likelihoods.shape[1]) / best_size


def _mean(weights: FloatArray, opinions: FloatArray) -> FloatArray:
    """``log Σ_k w_k c_k``: (n, C)."""
    chosen = weights > 0
    return mix(np.log(weights[chosen])[None], opinions[:, chosen])
