"""How a cascade came to an answer: what it said after each backbone, and why it asked no other."""

from dataclasses import dataclass

import numpy as np

from manyeyes.fusion.cascade import Cascade, Run
from manyeyes.fusion.frontier import By

HOW_FAR: dict[By, str] = {
    "confidence": "until the answer is sure",
    "thumbnail": "as far as a gate sees fit by the thumbnail",
    "both": "as far as a gate sees fit by the thumbnail, and on until the answer is sure",
}


@dataclass(frozen=True)
class Turn:
    """A backbone that was asked. label, probability : the answer with it. cost : of all that were asked by then, as a
    share of what all backbones cost."""

    backbone: str
    label: str
    probability: float
    cost: float


@dataclass(frozen=True)
class Way:
    """turns : of those that were asked. stopped : why nobody else was."""

    turns: tuple[Turn, ...]
    stopped: str


def ways(cascade: Cascade, run: Run) -> list[Way]:
    """Of each photo that a cascade was asked about."""
    names, costs = [str(name) for name in cascade.classes_], cascade.costs_so_far()

    def turn(row: int, number: int) -> Turn:
        label, sure = names[run.picked[row, number]], float(run.sure[row, number])
        return Turn(cascade.order_[number], label, sure, float(costs[number]))

    return [
        Way(
            tuple(turn(row, number) for number in range(last + 1)),
            _why(cascade, last, 1 - float(run.sure[row, last])),
        )
        for row, last in enumerate(run.stages.tolist())
    ]


def _why(cascade: Cascade, last: int, doubt: float) -> str:
    if last == len(cascade.stages_) - 1:
        is_whole = cascade.costs_so_far()[-1] > 1 - 1e-9
        return "all backbones were asked" if is_whole else "all backbones that can look were asked"
    following = cascade.order_[last + 1]
    if cascade.by == "thumbnail":
        return f"by its thumbnail the gate did without {following}"
    wanted = cascade.price_ * np.diff(cascade.costs_so_far())[last]
    if doubt >= wanted:
        return f"the file could not be read again for {following}"
    if not np.isfinite(wanted) or wanted >= 1:
        return f"no doubt is worth asking {following} within this budget"
    return f"a doubt of {doubt:.1%} is not worth asking {following}; one of {wanted:.1%} is"
