"""Gated transfer (Zhu, Xue, Newsam: ACCV 2018): a gate over the features, an auxiliary classifier, and two phases."""

from typing import Any

from manyeyes.adapt.gating import Gating
from manyeyes.adapt.plan import METHODS, Plan
from manyeyes.adapt.training.recipe import BODY_RATE, Recipe
from manyeyes.errors import UnknownNameError

AUXILIARY = 0.2
# Of 100 epochs, with the backbone frozen.
FROZEN = 21


def plan_of(words: str, gating: Gating | None = None, **choices: Any) -> Plan:
    """The plan that a method's name stands for: one of adapters, ``full``, or one of these with ``+gated``; ``gated``
    alone is ``full+gated``. ``gating``, of whatever is gated, is as in the paper but for an identity start when None.

    Raises UnknownNameError for any other name, and ChoiceError for choices that are none of a plan's.

    >>> plan_of("gated").method, plan_of("parallel+gated").gating is None, plan_of("parallel").gating
    ('full', False, None)
    """
    name, plus, more = words.partition("+")
    is_gated = (name, plus) == ("gated", "") or more == "gated"
    method = "full" if name == "gated" else name
    if method not in METHODS or (name == "gated" and plus) or (plus and not is_gated):
        known = ", ".join(METHODS)
        raise UnknownNameError(f"{words!r} is no method of adapting: choose from {known}, gated, or one with +gated")
    return Plan(method, gating=(gating or Gating()) if is_gated else None, **choices)


def recipe_for(plan: Plan, recipe: Recipe) -> Recipe:
    """The recipe, chosen with adapters in mind, as the plan wants it: a network that is trained as a whole is trained
    at one rate."""
    return recipe.all_at(BODY_RATE) if plan.method == "full" else recipe


def first_phase(epochs: int) -> int:
    """Of so many epochs, those in which the authors' code leaves the backbone as it is.

    >>> first_phase(100), first_phase(10)
    (21, 2)
    """
    return round(FROZEN / 100 * epochs)


def published(epochs: int = 100) -> tuple[Plan, Recipe]:
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
        epochs=epochs,
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
        frozen=first_phase(epochs),
        drifts=True,
        auxiliary=AUXILIARY,
        cut="resized",
        patience=epochs,
    )
    return plan, recipe.all_at(1.0)
