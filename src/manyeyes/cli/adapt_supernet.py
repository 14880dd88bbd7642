"""``manyeyes adapt --method supernet``: a smaller network inside the backbone, found and trained for photos."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from manyeyes.cli.adapt_courses import Reading, read_courses, say_score
from manyeyes.cli.adapt_paths import draw_search, write_search
from manyeyes.cli.options import one_card, read_macs

if TYPE_CHECKING:
    from manyeyes.adapt.adapting import Course
    from manyeyes.adapt.bank import DomainBank
    from manyeyes.adapt.plan import Plan
    from manyeyes.adapt.supernet.search import Candidate
    from manyeyes.adapt.supernet.supernet import Supernet
    from manyeyes.adapt.training.recipe import Recipe
    from manyeyes.backbones.card import Card

# Photos are held out for the search: one in so many.
HELD = 4
# Beside the backbone's weights and card, in the folder that the command writes.
DOMAIN = "domain.safetensors"


def adapt_supernet(sources: list[str], output: Path, plan: "Plan", recipe: "Recipe", options: dict[str, Any]) -> None:
    """What the command does by this method, or by ``search`` without tuning anything."""
    from manyeyes.adapt.adapting import open_bank
    from manyeyes.adapt.fold import check_folder, write_folded
    from manyeyes.adapt.supernet.architecture import alone, fine_tune
    from manyeyes.adapt.supernet.search import check_search, within
    from manyeyes.errors import AdaptError, ChoiceError
    from manyeyes.home import cache_home

    if len(sources) > 1:
        raise ChoiceError("a smaller network is found for one folder of photos")
    budget_of = read_macs(options["macs"])
    check_folder(output)
    check_search()
    accept = options["accept_undeclared_licence"]
    bank, card = open_bank(one_card(options["backbone"]), options["size"], accept)
    how = Reading(options["task"], options["unlabelled"], HELD, options["seed"], options["max_rejected"])
    (read,) = read_courses(sources, card, set(), how)
    course = read.course
    if not len(course.held):
        raise AdaptError(f"{course.name} has too few photos to hold some out for the search: add more of each class")
    source = None
    if options["source"] is not None:
        how = dataclasses.replace(how, task="classification", unlabelled=None)
        source = read_courses([options["source"]], card, {course.name}, how)[0].course
    supernet, candidates = _searched(bank, course, source, plan, recipe, options)
    budget = budget_of(supernet.cost(supernet.space.full).macs)
    chosen = within(candidates, budget)
    small, small_course = alone(supernet, chosen.path, course, card.preprocessing)
    ended = fine_tune(small, small_course, recipe, cache_home() / "training")
    made = write_folded(small, course.name, supernet.card_of(chosen.path, card), output)
    facts = {"plan": plan.to_dict(), "recipe": recipe.to_dict(), "budget": budget}
    write_search(supernet, candidates, chosen, facts, output)
    _write_domain(made, small, course.name, facts, output, accept)
    if ended.checkpoint is not None:  # only now does nobody need to go on from it
        ended.checkpoint.unlink(missing_ok=True)
    title = f"Smaller networks inside of {card.name} · {course.name}"
    typer.echo(draw_search(supernet, candidates, chosen, budget, title, output))
    say_score(small, dataclasses.replace(read, course=small_course))
    typer.echo(f"the path is local:{output}, with {made.dimension:,} features")


def _searched(
    bank: "DomainBank",
    course: "Course",
    source: "Course | None",
    plan: "Plan",
    recipe: "Recipe",
    options: dict[str, Any],
) -> "tuple[Supernet, list[Candidate]]":
    from manyeyes.adapt.supernet.architecture import tune
    from manyeyes.adapt.supernet.judging import PathJudge
    from manyeyes.adapt.supernet.search import search
    from manyeyes.home import cache_home

    folder, is_new, is_taught = (
        cache_home() / "training",
        options["method"] == "supernet",
        not options["self_supervised"],
    )
    if source is not None:
        tune(bank, source, plan, recipe, folder, anew=is_new)
    supernet, training = tune(
        bank, course, plan, recipe, folder, None if source is None else source.name, is_taught, is_new
    )
    judge = PathJudge(supernet, course)
    is_linear = options["linear"] or not is_taught
    assert training.checkpoint is not None
    candidates = search(
        supernet.space,
        judge.score_linearly if is_linear else judge.score,
        lambda path: supernet.cost(path).macs,
        options["population"],
        options["generations"],
        options["seed"],
        training.checkpoint.with_suffix(".linear.json" if is_linear else ".json"),
    )
    return supernet, candidates


def _write_domain(
    made: "Card", trained: "DomainBank", name: str, facts: dict[str, Any], output: Path, accept: bool
) -> None:
    """The head of what was trained, for the backbone that it became."""
    from manyeyes.adapt.adapting import open_bank
    from manyeyes.adapt.domain_file import save_domains
    from manyeyes.adapt.plan import Plan
    from manyeyes.backbones.weights import weights_sha256

    bank, _ = open_bank(made, accept_undeclared_licence=accept)
    head = trained[name].head
    bank.put_new(name, trained[name].classes, Plan("norms")).set_head(head.weight, head.bias)
    save_domains(bank, made, weights_sha256(made), output / DOMAIN, {name: facts})
