"""``manyeyes predict``: what a model says of photos, and why."""

import csv
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from manyeyes.cli.options import PHOTOS, AcceptUndeclared, AsJson, Bundle, EngineName, Features, Offline, Quiet, Verbose

if TYPE_CHECKING:
    from rich.table import Table

    from manyeyes.images import Rejected
    from manyeyes.predictions import Prediction, Vote

# Log-odds that fill a bar.
FULL_BAR = 2.0


def predict(
    model: Bundle,
    photos: Annotated[list[str], PHOTOS],
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on standard output.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show each backbone's vote and how much it counted.")
    ] = False,
    engine: EngineName = "auto",
    features: Features = None,
    offline: Offline = False,
    accept_undeclared_licence: AcceptUndeclared = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Classify photos: the class and its calibrated probability, for each photo in the order given."""
    from manyeyes.classifier import ManyEyesClassifier
    from manyeyes.errors import PhotoSourceError
    from manyeyes.images import list_photos
    from manyeyes.predictions import Prediction, predictions

    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    loaded = ManyEyesClassifier.load(model, offline, accept_undeclared_licence, engine, features)
    paths = list_photos(photos)
    if not paths:
        raise PhotoSourceError(f"no photos in {', '.join(photos)}")
    outcomes = predictions(loaded, paths)
    _say_lost(outcomes)
    if as_json:
        typer.echo(json.dumps([_record(one, explain) for one in outcomes], indent=1, ensure_ascii=False))
    elif as_csv:
        _write_csv(outcomes, explain)
    else:
        _show(outcomes, explain)
    if not any(isinstance(one, Prediction) for one in outcomes):
        raise typer.Exit(1)


def _say_lost(outcomes: "list[Prediction | Rejected]") -> None:
    from manyeyes.predictions import Prediction
    from manyeyes.progress import console

    lost = next((one.lost for one in outcomes if isinstance(one, Prediction)), {})
    for name, reason in lost.items():
        console.print(f"note: {name} cannot look, and answers go by the other backbones: {reason}", soft_wrap=True)


def _record(outcome: "Prediction | Rejected", explain: bool) -> dict[str, object]:
    record = asdict(outcome)
    if not explain:
        for name in ("votes", "turns", "stopped"):
            record.pop(name, None)
    return record


def _write_csv(outcomes: "list[Prediction | Rejected]", explain: bool) -> None:
    from manyeyes.predictions import Prediction

    predicted = [one for one in outcomes if isinstance(one, Prediction)]
    # Not all photos were asked of all backbones, where there is a budget.
    voters = dict.fromkeys(vote.backbone for one in predicted for vote in one.votes)
    backbones = list(voters) if explain else []
    writer = csv.writer(sys.stdout, lineterminator="\n")
    columns = [f"{name} {what}" for name in backbones for what in ("weight", "label", "probability")]
    writer.writerow(["path", "label", "probability", "rejected", "lost", *columns])
    for one in outcomes:
        if isinstance(one, Prediction):
            cast = {vote.backbone: vote for vote in one.votes}
            votes = [cell for name in backbones for cell in _cells(cast.get(name))]
            writer.writerow([one.path, one.label, one.probability, "", " ".join(one.lost), *votes])
        else:
            writer.writerow([one.path, "", "", f"{one.reason}: {one.detail}", "", *("" for _ in columns)])


def _cells(vote: "Vote | None") -> tuple[object, ...]:
    if vote is None:
        return "", "", ""
    return vote.weight if vote.weight is not None else _total(vote), vote.label, vote.probability


def _show(outcomes: "list[Prediction | Rejected]", explain: bool) -> None:
    from rich.text import Text

    from manyeyes.cli.tables import out, plain_table
    from manyeyes.images.photo import readable
    from manyeyes.predictions import Prediction

    table = plain_table(["photo", "class", "probability"], numeric_from=2)
    for one in outcomes:
        if not isinstance(one, Prediction):
            table.add_row(Text(readable(one.path)), Text(f"not read: {one.reason}", "red"), "")
            continue
        table.add_row(Text(readable(one.path)), Text(readable(one.label), "bold"), f"{one.probability:.3f}")
        if explain:
            for vote in one.votes:
                weight = _counted(vote)
                vote_style = "dim" if vote.label == one.label else "yellow"
                label = Text(readable(vote.label), vote_style)
                table.add_row(Text(f"  {weight}{vote.backbone}", "dim"), label, f"{vote.probability:.3f}")
            _add_way(table, one)
    out.print(table)


def _add_way(table: "Table", one: "Prediction") -> None:
    """Of a model with a budget: who was asked, and why nobody else was."""
    from rich.text import Text

    from manyeyes.images.photo import readable

    for number, turn in enumerate(one.turns):
        style = "dim" if turn.label == one.label else "yellow"
        who = f"  {'then' if number else 'asked'} {turn.backbone}, by now {turn.cost:.1%} of what all take"
        table.add_row(Text(who, "dim"), Text(readable(turn.label), style), f"{turn.probability:.3f}")
    if one.stopped:
        table.add_row(Text(f"  {one.stopped}", "italic"), "", "")


def _counted(vote: "Vote") -> str:
    """How much a vote counted: the gate's weight, or what the backbone's taps add to the log-odds."""
    from manyeyes.cli.tables import bar

    if vote.weight is not None:
        return f"{bar(vote.weight)} {100 * vote.weight:3.0f}%  "
    if not vote.contributions:
        return ""
    total = sum(vote.contributions.values())
    taps = ", ".join(f"{tap} {value:+.2f}" for tap, value in vote.contributions.items())
    return f"{bar(min(max(total, 0) / FULL_BAR, 1))} {total:+.2f}  " + (
        f"({taps})  " if len(vote.contributions) > 1 else ""
    )


def _total(vote: "Vote") -> float | None:
    return sum(vote.contributions.values()) if vote.contributions else None
