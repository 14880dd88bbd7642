"""``manyeyes decathlon``: every method of adapting a backbone, on several domains."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manyeyes.cli.options import AcceptUndeclared, Offline, Quiet, Verbose, command_line, one_card, read_budget
from manyeyes.progress import console

if TYPE_CHECKING:
    from manyeyes.study.decathlon.methods import Method
    from manyeyes.study.decathlon.run import Result


def decathlon(
    domains: Annotated[
        Path, typer.Argument(metavar="DOMAINS.toml", help="A file that names domains: see docs/adapters.md.")
    ],
    backbone: Annotated[str, typer.Option(help="A card, or a source such as timm:NAME.")] = "efficientnet-lite0",
    methods: Annotated[
        str, typer.Option(help="Some of scratch, feature, norms, full, series, parallel and parallel-svd; or all.")
    ] = "all",
    seeds: Annotated[int, typer.Option(min=1, help="Run so many times, each time with other photos.")] = 1,
    per_class: Annotated[
        str, typer.Option(help="Train on so many photos of a class; 5,10,20 for a table of few labels.")
    ] = "all",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the photos.")] = 10,
    rate: Annotated[float, typer.Option(help="The rate of learning of adapters.")] = 0.003,
    batch: Annotated[int, typer.Option(min=1, help="Photos in a step.")] = 32,
    budget: Annotated[
        str, typer.Option(help="Backbone and adapters of one domain, as a multiple of the backbone's parameters.")
    ] = "1.1x",
    keep: Annotated[
        float, typer.Option(help="Rank of compressed adapters, as a share of that of uncompressed ones.")
    ] = 1.0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the tables to this Markdown file.")
    ] = None,
    offline: Offline = False,
    accept_undeclared_licence: AcceptUndeclared = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Compare scratch, frozen features, norms only, full fine-tuning and adapters on several domains.

    Prints accuracy in each domain, parameters as a multiple of the backbone's, and the decathlon score, in which full
    fine-tuning has 250 for each domain. Every network is trained for all epochs and judged once. Results are kept as
    they come: a run that was stopped goes on.
    """
    from manyeyes.adapt.adapting import open_bank
    from manyeyes.adapt.training.recipe import Recipe
    from manyeyes.cli.tables import out, plain_table, title
    from manyeyes.errors import StudyError
    from manyeyes.progress import counting
    from manyeyes.study.decathlon.domains import read_domains
    from manyeyes.study.decathlon.methods import TITLES
    from manyeyes.study.decathlon.report import make_table, page
    from manyeyes.study.decathlon.run import Race, run, work_folder
    from manyeyes.writing import try_writing

    if output is not None:
        try:
            try_writing(output)
        except OSError as error:
            raise StudyError(f"nothing can be written to {output}: {error.strerror}") from None
    card = one_card(backbone)
    race = Race(
        card,
        read_domains(domains),
        _methods(methods, list(TITLES)),
        range(seeds),
        [0 if word == "all" else _number(word) for word in per_class.split(",")],
        Recipe(epochs=epochs, rate=rate, batch=batch),
        read_budget(budget),
        keep,
        accept_undeclared_licence,
    )
    bank, _ = open_bank(card, race.domains[0].size, accept_undeclared_licence)
    total = len(race.methods) * len(race.domains) * len(race.seeds) * len(race.per_class)
    with counting("training", total, "networks") as advance:
        results = run(race, work_folder(race), advance)
    table = make_table(results, bank.backbone_size())
    title("Accuracy (%) in each domain")
    shown = plain_table(table.head, table.words)
    for row in table.rows:
        shown.add_row(*row)
    out.print(shown)
    if output is None:
        return
    figure = _draw(results, f"Few photos · {card.name}", output) if len(race.per_class) > 1 else None
    output.write_text(page(race, results, table, command_line(), figure), encoding="utf-8")


def _draw(results: "list[Result]", heading: str, output: Path) -> Path | None:
    """The figure beside the page; None, with a remark, where matplotlib is not installed."""
    try:
        from manyeyes.study.decathlon.figure import write_few
    except ImportError:
        console.print("no figure is drawn: pip install 'manyeyes[study]' for that")
        return None
    figure = output.with_suffix(".svg")
    write_few(results, heading, figure)
    return figure


def _methods(words: str, known: "list[Method]") -> "list[Method]":
    from manyeyes.errors import UnknownNameError

    wanted = known if words == "all" else [name for name in known if name in words.split(",")]
    if words != "all" and (strange := set(words.split(",")) - set(known)):
        raise UnknownNameError(f"{sorted(strange)[0]!r} is no method: choose from {', '.join(known)}, or all")
    return wanted


def _number(word: str) -> int:
    if not word.isdecimal() or int(word) == 0:
        raise typer.BadParameter(f"{word!r} is neither all nor a number above zero")
    return int(word)
