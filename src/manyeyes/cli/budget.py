"""``manyeyes budget``: what a model that asks in turn comes to within one budget after another, and to set it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manyeyes.cli.options import (
    LABELLED_PHOTOS,
    AcceptUndeclared,
    Bundle,
    EngineName,
    Features,
    Offline,
    Quiet,
    Verbose,
)
from manyeyes.cli.outputs import check_output

if TYPE_CHECKING:
    from manyeyes.study.budget import BudgetStudy, Within


def budget(
    model: Bundle,
    photos: Annotated[str, LABELLED_PHOTOS],
    figure: Annotated[
        Path | None, typer.Option("--figure", help="Draw accuracy against cost there, as SVG and PNG.")
    ] = None,
    chosen: Annotated[
        str | None,
        typer.Option(
            "--set",
            help="Let the model go by this budget from now on, in its own unit; nothing is trained.",
        ),
    ] = None,
    engine: EngineName = "auto",
    features: Features = None,
    offline: Offline = False,
    accept_undeclared_licence: AcceptUndeclared = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Show what a model fitted with `--budget` comes to on labelled photos, within one budget after another.

    Budgets are shares of what all backbones take; how sure an answer must be for each was learnt from the training
    photos.
    """
    from manyeyes.bundle import check_free, save
    from manyeyes.classifier import ManyEyesClassifier
    from manyeyes.cli.evaluate import look_at_labelled
    from manyeyes.errors import ChoiceError
    from manyeyes.fusion.budget import Budget
    from manyeyes.fusion.cascade import Cascade
    from manyeyes.study.budget import study_budget

    loaded = ManyEyesClassifier.load(model, offline, accept_undeclared_licence, engine, features)
    cascade = loaded.fusion_
    if not isinstance(cascade, Cascade):
        raise ChoiceError(f"{model} asks all backbones about every photo: fit it with --budget to let it ask fewer")
    if figure is not None:
        check_output(figure, "figure", "manyeyes.study.figures.frontier", "study")
    if chosen is not None:
        check_free(model)
        loaded.spend(Budget.read(chosen, loaded.budget_unit).number)
    seen, labels, _ = look_at_labelled(loaded, photos)
    study = study_budget(cascade, seen.table, labels)
    _show(study)
    if figure is not None:
        _draw(study, Path(photos).name, figure)
    if chosen is not None:
        save(loaded, model, same_photos=True)
        typer.echo(
            f"{model} goes by a budget of {chosen} from now on ({cascade.budget:.1%} of what all backbones take)"
        )


def _show(study: "BudgetStudy") -> None:
    from manyeyes.cli.tables import out, plain_table, title

    title(f"{study.photos:,} photos")
    table = plain_table(["budget", "cost %", "backbones", "accuracy %", "of all's %"])
    every = study.always[-1].accuracy

    def add(one: "Within", style: str = "") -> None:
        share = f"{100 * one.accuracy / every:.1f}" if every else ""
        table.add_row(
            one.name, f"{100 * one.cost:.1f}", f"{one.asked:.1f}", f"{100 * one.accuracy:.1f}", share, style=style
        )

    for one in study.within:
        add(one)
    add(study.chosen, "bold green")
    table.add_row("always", style="dim")
    for one in study.always:
        add(one, "dim")
    out.print(table)


def _draw(study: "BudgetStudy", photos: str, figure: Path) -> None:
    from manyeyes.study.figures.frontier import draw_frontier
    from manyeyes.study.figures.style import house_style, save

    with house_style():
        save(draw_frontier(study, f"Accuracy for what it costs · {photos}"), figure.parent, figure.stem)
    typer.echo(f"drawn in {figure.with_suffix('.svg')}")
