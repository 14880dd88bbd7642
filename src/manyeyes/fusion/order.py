"""In which order to ask backbones: always the one that tells most for what it costs, beside those asked before."""

from collections.abc import Mapping, Sequence

import numpy as np

from manyeyes.experts.calibration import fit_temperature, log_loss, tempered
from manyeyes.experts.lesson import Lesson

# The expert on each backbone by itself that tells what it knows.
EXPERT = "kernel-ridge"


def learn_order(lesson: Lesson, blocks: Mapping[str, Sequence[str]], costs: Mapping[str, float]) -> list[str]:
    """The names of the backbones, which have these blocks and costs.

    What some of them know together is judged by the geometric mean of what an expert on each says out of fold.
    """
    said = {name: lesson.expert(EXPERT, own).out_of_fold_ for name, own in blocks.items()}
    known = np.isfinite(np.stack(list(said.values()))).all(axis=(0, 2)) & (lesson.weights > 0)
    labels, weights = lesson.labels[known], lesson.weights[known]

    def lacking(names: Sequence[str]) -> float:
        """Log loss, in nats."""
        mean = np.mean([said[name][known] for name in names], axis=0)
        return log_loss(tempered(mean, fit_temperature(mean, labels, weights)), labels, weights)

    order: list[str] = []
    left = sorted(blocks, key=lambda name: costs[name])
    so_far = float(np.log(len(lesson.classes)))
    while left:
        gains = {name: so_far - lacking([*order, name]) for name in left} if known.any() else {}
        # Where nothing gains, what costs least comes first.
        best = max(left, key=lambda name: max(gains.get(name, 0.0), 0.0) / costs[name])
        so_far -= gains.get(best, 0.0)
        order.append(best)
        left.remove(best)
    return order
