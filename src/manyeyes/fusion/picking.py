"""How far to look at a photo, by its thumbnail: a gate over a cascade's stages, with what they cost in its loss.

Of each photo it is known how likely each stage is wrong, risk, by what had not seen the photo. The gate is trained for
the least expectation of risk + price · cost; the price is what makes the best stage for all photos alike fit a budget.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import get_args

import numpy as np

from manyeyes.errors import ChoiceError
from manyeyes.experts import FloatArray
from manyeyes.experts.lesson import Lesson
from manyeyes.features.table import backbone_of
from manyeyes.fusion.frontier import By, Looks
from manyeyes.gates import GATES
from manyeyes.gates.cnn import CnnGate
from manyeyes.gates.gate import Gate
from manyeyes.gates.objectives import Picking
from manyeyes.gates.training import train_gate


def check_by(by: By, gate: str) -> None:
    """Raise ChoiceError or UnknownNameError where nobody can decide so how far to look."""
    if by not in get_args(By):
        raise ChoiceError(f"how far to look is decided by {', '.join(get_args(By))}, not by {by!r}")
    if by != "confidence" and not issubclass(GATES[gate], CnnGate):
        raise ChoiceError(f"the gate {gate!r} sees no thumbnails: to decide by them, choose cnn32 or cnn64")


@dataclass(frozen=True)
class Picked:
    """gate, prior : whose log-weights (n, S) of the stages add up. held_out : both, of the training photos, by gates
    that had not seen them."""

    gate: Gate
    prior: FloatArray
    held_out: FloatArray


def learn_to_pick(
    kind: str,
    lesson: Lesson,
    order: list[str],
    said: FloatArray,
    looks: Looks,
    weights: FloatArray,
    budget: float,
    price: float,
) -> Picked:
    """From what stages say out of fold, (n, S, C), and how far a cascade by confidence looks; photos count ``weights``,
    (n,), and of those that count nothing nothing need be known.

    Where the gate decides alone it picks the stage that answers. Where the cascade goes on, at this price, it picks the
    first that may answer, and is trained with what the cascade comes to from there.
    """
    rows, costs = np.arange(len(said)), looks.costs
    risks = np.nan_to_num(1 - np.exp(said[rows, :, lesson.labels]))
    spent = np.broadcast_to(costs, risks.shape)
    if looks.by == "both":
        stops = np.stack([looks.stops_from(start, price) for start in range(len(costs))], axis=1)
        risks, spent = np.take_along_axis(risks, stops, axis=1), costs[stops]
    mean_risks, mean_costs = (np.average(one, axis=0, weights=weights) for one in (risks, spent))
    charge = risk_for_cost(mean_risks, mean_costs, budget)
    objective = Picking(risks, charge * spent, lesson.labels, weights, lesson.groups)
    first = {backbone_of(name): name for name in reversed(lesson.table.names)}
    # A gate over one block of each backbone weighs as many as there are stages.
    trained = train_gate(
        GATES[kind], lesson.table.select([first[name] for name in order]), objective, lesson.random_state
    )
    return Picked(trained.gate, objective.prior, trained.held_out + objective.prior)


def risk_for_cost(risks: FloatArray, costs: FloatArray, budget: float) -> float:
    """The least price at which the choice of least risk + price · cost, both (S,) with the costs rising, is within a
    budget; of the first, if none is."""
    pairs = [(i, j) for i, j in combinations(range(len(costs)), 2) if costs[j] > costs[i]]
    slopes = {(risks[i] - risks[j]) / (costs[j] - costs[i]) * (1 + 1e-9) for i, j in pairs}
    prices = sorted({0.0, *(slope for slope in slopes if slope > 0)})
    return float(
        next((price for price in prices if costs[(risks + price * costs).argmin()] <= budget * (1 + 1e-9)), prices[-1])
    )
