"""What a cascade comes to on labelled photos within one budget after another, and what asking some always would."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from manyeyes.features.table import FeatureTable
from manyeyes.fusion.cascade import Cascade

# Shares of what all backbones cost.
BUDGETS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)


@dataclass(frozen=True)
class Within:
    """Of a budget, or of backbones that are always asked: cost, as a share of what all cost; share of photos that are
    right; and the mean number of backbones that were asked. name : of the budget or the backbones."""

    name: str
    cost: float
    accuracy: float
    asked: float


@dataclass(frozen=True)
class BudgetStudy:
    """within : of budgets, rising. always : of the first backbones in the cascade's order, one more each time; the last
    asks all. chosen : what the cascade does now. photos : how many there are."""

    within: tuple[Within, ...]
    always: tuple[Within, ...]
    chosen: Within
    photos: int


def study_budget(
    cascade: Cascade, table: FeatureTable, labels: npt.NDArray[np.int64], budgets: Sequence[float] = BUDGETS
) -> BudgetStudy:
    """Of photos that all backbones have looked at, and the numbers of their classes (n,).

    Prices are those that the training photos gave for the budgets; one that the first backbone exceeds is left out.
    """
    said = cascade.opinions_of_stages(table)
    looks = cascade.looks(said, table)
    right, learnt = said.argmax(axis=2) == labels[:, None], cascade.learnt

    def within(name: str, stopped: npt.NDArray[np.int64]) -> Within:
        accuracy = right[np.arange(len(right)), stopped].mean()
        cost, asked = cascade.spent(stopped)
        return Within(name, cost, float(accuracy), asked)

    return BudgetStudy(
        tuple(
            within(f"{budget:.0%}", looks.stops(learnt.price(budget)))
            for budget in budgets
            if learnt.allows(budget).any()
        ),
        tuple(
            within(name if not number else f"+ {name}", np.full(len(right), number))
            for number, name in enumerate(cascade.order_)
        ),
        within(f"{cascade.budget:.1%}", looks.stops(cascade.price_)),
        len(labels),
    )
