"""What the options of ``manyeyes adapt`` stand for: a plan and a recipe."""

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from manyeyes.adapt.plan import Plan
    from manyeyes.adapt.training.recipe import Recipe

# Options that are fields of a recipe.
RECIPE = (
    "epochs",
    "batch",
    "optimiser",
    "rate",
    "schedule",
    "warm_up",
    "clip",
    "decay",
    "flip",
    "patience",
    "precision",
    "frozen",
    "auxiliary",
    "sparsity",
    "seed",
)


def chosen(ctx: typer.Context) -> "tuple[Plan, Recipe]":
    """What the options stand for."""
    from manyeyes.adapt.gated_transfer import plan_of, recipe_for
    from manyeyes.adapt.gating import Gating
    from manyeyes.adapt.plan import ranks_of
    from manyeyes.adapt.training.recipe import Recipe

    options = ctx.params
    gating = Gating(options["gate_at"], start=options["gate_start"], static=options["static_gate"])
    plan = plan_of(
        options["method"],
        gating,
        ranks=ranks_of(options["adapters"], options["rank"]),
        statistics=options["statistics"],
        dropout=options["dropout"],
    )
    if plan.method in ("full", "norms"):
        _refuse(
            ctx, ("adapters", "rank", "budget", "dropout", "compress"), "is about adapters, and a method that has them"
        )
    if plan.gating is None:
        _refuse(ctx, GATES, "is about gates: --method gated, or …+gated")
    return plan, recipe_for(plan, Recipe(**{name: options[name] for name in RECIPE}))


def chosen_supernet(ctx: typer.Context) -> "tuple[Plan, Recipe]":
    """What is trained, and how, of a network all of whose paths are."""
    from manyeyes.adapt.gated_transfer import plan_of, recipe_for
    from manyeyes.adapt.plan import ranks_of
    from manyeyes.adapt.training.recipe import Recipe
    from manyeyes.errors import ChoiceError

    options = ctx.params
    tuned = options["tuned"]
    if tuned not in TUNED:
        raise ChoiceError(f"--tuned is one of {', '.join(TUNED)}, not {tuned!r}: other things fit one path only")
    others = ("into", "compress", "fold", "figure", "faithful", "budget", "statistics", "auxiliary", "frozen")
    _refuse(ctx, (*others, *GATES), "is not for a smaller network inside the backbone")
    if tuned in ("full", "norms"):
        _refuse(ctx, ("adapters", "rank", "dropout"), "is about adapters: --tuned parallel or lowrank")
    plan = plan_of(tuned, ranks=ranks_of(options["adapters"], options["rank"]), dropout=options["dropout"])
    return plan, recipe_for(plan, Recipe(**{name: options[name] for name in RECIPE}))


def refuse_supernet(ctx: typer.Context) -> None:
    """Raise ChoiceError for options that are about a supernet."""
    _refuse(ctx, SUPERNET, "is about a smaller network inside the backbone: --method supernet, or search")


def published(ctx: typer.Context) -> "tuple[Plan, Recipe]":
    """Gated transfer as its authors' code does it, but for what is named on the command line."""
    from manyeyes.adapt import gated_transfer
    from manyeyes.errors import ChoiceError

    if ctx.params["method"] != "gated":
        raise ChoiceError("--faithful is about gated transfer of the whole network: --method gated")
    ours = ("gate_at", "gate_start", "static_gate", "statistics", "dropout", "adapters", "rank", "budget")
    _refuse(ctx, ours, "is not what was published")
    changes = _given(ctx, RECIPE)
    plan, recipe = gated_transfer.published(changes.get("epochs", 100))
    return plan, dataclasses.replace(recipe, **changes)


GATES = ("gate_at", "gate_start", "static_gate", "sparsity")
SUPERNET = ("macs", "tuned", "source", "source_labels", "self_supervised", "linear", "population", "generations")
# What may be trained while all paths of a supernet are tuned.
TUNED = ("full", "parallel", "lowrank", "norms")


def check_task(task: str, unlabelled: str | None, domains: int) -> None:
    """Raise what is wrong with a task before any photo is read."""
    from manyeyes.adapt.tasks import check_name
    from manyeyes.errors import ChoiceError

    check_name(task)
    if unlabelled is not None and task != "classification":
        raise ChoiceError(f"--unlabelled is about classification, not --task {task}")
    if unlabelled is not None and domains > 1:
        raise ChoiceError("--unlabelled wants one domain: adapt the backbone to one folder of photos")


def _given(ctx: typer.Context, names: Iterable[str]) -> dict[str, Any]:
    """Those of some options that are named on the command line."""
    sources = {name: ctx.get_parameter_source(name) for name in names}
    # By name: some versions of typer bring their own click, and others use that which is installed.
    return {name: ctx.params[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def _refuse(ctx: typer.Context, names: Iterable[str], reason: str) -> None:
    from manyeyes.errors import ChoiceError

    for name in _given(ctx, names):
        raise ChoiceError(f"--{name.replace('_', '-')} {reason}")
