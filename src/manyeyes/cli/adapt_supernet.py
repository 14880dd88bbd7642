"""``manyeyes adapt --method supernet``: a smaller network inside the backbone, found and trained for photos."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from manyeyes.cli.adapt_courses import Reading, read_courses, read_source, say_score
from manyeyes.cli.adapt_paths import draw_search, search_text, shown_search, write_search
from manyeyes.cli.options import one_card

if TYPE_CHECKING:
    from manyeyes.adapt.plan import Plan
    from manyeyes.adapt.supernet.finding import Found
    from manyeyes.adapt.training.recipe import Recipe
    from manyeyes.backbones.card import Card

# Beside the backbone's weights and card, in the folder that the command writes.
DOMAIN = "domain.safetensors"


def adapt_supernet(sources: list[str], output: Path, plan: "Plan", recipe: "Recipe", options: dict[str, Any]) -> None:
    """What the command does by this method, or by ``search`` without tuning anything."""
    from manyeyes.adapt.adapting import open_bank
    from manyeyes.adapt.fold import check_folder, write_folded
    from manyeyes.adapt.supernet.finding import HELD, Budget, Finding, find_smaller
    from manyeyes.adapt.supernet.search import check_search
    from manyeyes.errors import ChoiceError
    from manyeyes.home import cache_home
    from manyeyes.images.photo import readable

    if len(sources) > 1:
        raise ChoiceError("a smaller network is found for one folder of photos")
    finding = Finding(
        Budget.read(options["macs"]),
        plan,
        not options["self_supervised"],
        options["source_labels"],
        options["linear"],
        options["population"],
        options["generations"],
        options["seed"],
    )
    check_folder(output)
    check_search()
    accept = options["accept_undeclared_licence"]
    bank, card = open_bank(one_card(options["backbone"]), options["size"], accept)
    how = Reading(options["task"], options["unlabelled"], HELD, options["seed"], options["max_rejected"])
    (read,) = read_courses(sources, card, set(), how)
    first = None
    if options["source"] is not None:
        how = dataclasses.replace(how, task="classification", unlabelled=None)
        first = read_source(options["source"], card, options["source_labels"], how)
    is_new = options["method"] == "supernet"
    found = find_smaller(bank, card, read.course, finding, recipe, cache_home() / "training", first, is_new)
    facts = {
        "task": read.course.objective.to_dict(),
        "finding": dataclasses.asdict(finding),
        "recipe": recipe.to_dict(),
    }
    shown = shown_search(found, finding.budget)
    with _whole(output) as folder:
        made = write_folded(found.bank, read.course.name, found.card, folder)
        write_search(found, facts, folder)
        placed = dataclasses.replace(made, source=f"{made.scheme}:{output.resolve() / Path(made.where).name}")
        _write_domain(made, placed, found, facts, folder, accept)
        is_drawn = draw_search(shown, f"Smaller networks inside of {card.name} · {readable(read.course.name)}", folder)
    if found.training.checkpoint is not None:  # only now does nobody need to go on from it
        found.training.checkpoint.unlink(missing_ok=True)
    typer.echo(search_text(shown, output, is_drawn))
    say_score(found.bank, dataclasses.replace(read, course=found.course))
    typer.echo(f"the path is local:{output}, with {made.dimension:,} features")


@contextmanager
def _whole(output: Path) -> Iterator[Path]:
    from manyeyes.errors import AdaptError
    from manyeyes.writing import folder_whole

    try:
        with folder_whole(output) as folder:
            yield folder
    except OSError as error:
        raise AdaptError(f"{output} cannot be written: {error.strerror or error}") from None


def _write_domain(
    made: "Card", placed: "Card", found: "Found", facts: dict[str, Any], folder: Path, accept: bool
) -> None:
    """The head of what was trained, for the backbone that it became: as it is ``made``, and where it will be placed."""
    from manyeyes.adapt.adapting import open_bank
    from manyeyes.adapt.domain_file import save_domains
    from manyeyes.adapt.plan import Plan
    from manyeyes.backbones.weights import weights_sha256

    bank, _ = open_bank(made, accept_undeclared_licence=accept)
    name = found.course.name
    trained = found.bank[name]
    bank.put_new(name, trained.classes, Plan("norms")).set_head(trained.head.weight, trained.head.bias)
    save_domains(bank, placed, weights_sha256(made), folder / DOMAIN, {name: facts})
