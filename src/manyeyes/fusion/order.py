"""In which order to ask backbones: always the one that tells most for what it costs, beside those asked before."""

from collections.abc import Mapping, Sequence

import numpy as np

from manyeyes.experts import FloatArray
from manyeyes.experts.calibration import fit_temperature, log_loss, tempered
from manyeyes.experts.lesson import Lesson

# The expert on each backbone by itself that tells what it knows.
EXPERT = "kernel-ridge"


class Together:
    """What backbones, which have these blocks, know of a lesson together: judged by the geometric mean of what an
    expert on each says out of fold."""

    def __init__(self, lesson: Lesson, blocks: Mapping[str, Sequence[str]]) -> None:
        said = {name: lesson.expert(EXPERT, own).out_of_fold_ for name, own in blocks.items()}
        known = np.isfinite(np.stack(list(said.values()))).all(axis=(0, 2)) & (lesson.weights > 0)
        self._said = {name: opinions[known] for name, opinions in said.items()}
        self._labels, self._weights = lesson.labels[known], lesson.weights[known]
        shares = np.bincount(self._labels, self._weights, len(lesson.classes)) + 1e-9
        self._prior: FloatArray = np.log(shares / shares.sum())

    def lacking(self, names: Sequence[str]) -> float:
        """Log loss of these, in nats; of none, of knowing how many photos each class has. 0 where nothing is known."""
        if not len(self._labels):
            return 0.0
        if not names:
            return float(-np.average(self._prior[self._labels], weights=self._weights))
        mean = np.mean([self._said[name] for name in names], axis=0)
        temperature = fit_temperature(mean, self._labels, self._weights)
        return log_loss(tempered(mean, temperature), self._labels, self._weights)


def learn_order(
    lesson: Lesson, blocks: Mapping[str, Sequence[str]], costs: Mapping[str, float], budget: float = 1.0
) -> list[str]:
    """The names of the backbones, which have these blocks and costs. The first costs no more than the budget, a share
    of what all cost, if any does."""
    together = Together(lesson, blocks)
    order: list[str] = []
    left = sorted(blocks, key=lambda name: costs[name])
    most = budget * sum(costs[name] for name in left) * (1 + 1e-9)
    while left:
        so_far = together.lacking(order)
        gains = {name: max(so_far - together.lacking([*order, name]), 0.0) for name in left}
        able = left if order else [name for name in left if costs[name] <= most] or left[:1]
        # Where nothing gains, what costs least comes first.
        best = max(able, key=lambda name: gains[name] / costs[name])
        order.append(best)
        left.remove(best)
    return order
