"""Gated transfer (Zhu, Xue, Newsam: ACCV 2018): a gate over the features, an auxiliary classifier, and two phases."""

import dataclasses

from manyeyes.adapt.gating import Gating
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.training.recipe import Recipe

AUXILIARY = 0.2
# Of 100 epochs, with the backbone frozen.
FROZEN = 21


def gated(recipe: Recipe) -> Recipe:
    """The same recipe in two phases, with an auxiliary classifier. What is frozen at first stays as it is, bit for bit.

    >>> gated(Recipe(epochs=30)).frozen
    6
    """
    return dataclasses.replace(recipe, frozen=round(FROZEN / 100 * recipe.epochs), auxiliary=AUXILIARY)


def published() -> tuple[Plan, Recipe]:
    """What the authors' code does, faithfully, with two quirks of it: the rates of new modules, declared ten times as
    high, are overwritten; and in the first phase the backbone's rate is zero, but its norms follow the batches and its
    momentum builds up.

    Their photos are cut from any place of the whole photo, ours from its middle square.

    >>> plan, recipe = published()
    >>> [round(recipe.rate_at(epoch), 6) for epoch in (1, 41, 41.01, 81, 81.01, 100)]
    [0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001]
    """
    plan = Plan("full", statistics="own", gating=Gating(start="paper"), head="random")
    recipe = Recipe(
        epochs=100,
        batch=64,
        optimiser="sgd",
        rate=0.01,
        nesterov=False,
        schedule="step",
        milestones=(0.41, 0.81),
        warm_up=0,
        clip=0,
        decay=1e-4,
        dropout=0.5,
        frozen=FROZEN,
        drifts=True,
        auxiliary=AUXILIARY,
        cut="resized",
    )
    return plan, recipe.all_at(1.0)
