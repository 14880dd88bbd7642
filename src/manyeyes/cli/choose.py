"""``manyeyes backbones choose``: which of a zoo's backbones are worth having for some photos."""

from typing import TYPE_CHECKING, Annotated

import typer

from manyeyes.cli.options import (
    LABELLED_PHOTOS,
    AcceptUndeclared,
    AsJson,
    BatchSize,
    EngineName,
    Features,
    Offline,
    PrecisionName,
    Quiet,
    Verbose,
    Zoo,
)
from manyeyes.progress import console, waiting

if TYPE_CHECKING:
    from manyeyes.fusion.pruning import Choice


def choose(
    photos: Annotated[str, LABELLED_PHOTOS],
    zoo: Zoo = "mirror",
    budget: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="What they may take together, as a share of what all of them take.")
    ] = 1.0,
    sample: Annotated[int, typer.Option(min=2, help="Photos to look at, of each class about the same share.")] = 300,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of which photos these are.")] = 0,
    as_json: AsJson = False,
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
    batch_size: BatchSize = None,
    features: Features = None,
    offline: Offline = False,
    accept_undeclared_licence: AcceptUndeclared = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Choose the backbones that are worth their time, by a sample of labelled photos, before all are looked at.

    The one comes first that tells most of the classes for its time on this machine, then that which adds most to it
    for its own, and so on.
    """
    import json
    from dataclasses import asdict
    from typing import cast

    import numpy as np

    from manyeyes.backbones.nets import PrecisionChoice
    from manyeyes.classifier import ManyEyesClassifier
    from manyeyes.cli.compared import rows_of
    from manyeyes.fusion.evidence import stratified
    from manyeyes.fusion.pruning import choose_backbones
    from manyeyes.images import check_rejected, read_photos

    found = read_photos(photos)
    found = found.select(rows_of(found)[0])  # no photo to judge by chooses
    found.require_classes(2)
    looking = ManyEyesClassifier(
        zoo=zoo,
        engine=engine,
        precision=cast(PrecisionChoice, precision),
        batch_size=batch_size,
        features=features,
        offline=offline,
        accept_undeclared_licence=accept_undeclared_licence,
    )
    looking.check_choices()
    some = found.select(stratified(np.unique(found.labels, return_inverse=True)[1], sample, seed))
    with waiting("timing the backbones"):
        costs = looking.milliseconds()
    seen = looking.look(some.paths)
    check_rejected(seen.rejected, len(some), looking.max_rejected)
    chosen = choose_backbones(
        seen.table, np.array(some.select(seen.is_good).labels), costs, budget * sum(costs.values())
    )
    if as_json:
        typer.echo(json.dumps({"chosen": [asdict(one) for one in chosen], "milliseconds": costs}, indent=1))
        return
    console.print(f"{len(seen.table):,} photos looked at by {len(costs)} backbones", soft_wrap=True)
    _show(chosen, costs)
    typer.echo(f"--zoo {','.join(_words_of(zoo)[one.backbone] for one in chosen)}")


def _words_of(zoo: str) -> dict[str, str]:
    """How each backbone of a zoo is called by itself: by its name, or, where only the user knows it, by the word that
    named it here."""
    from manyeyes.backbones.zoo import known_cards, read_zoo

    words = {}
    for word in zoo.split(","):
        for card in read_zoo(word) if word.strip() else ():
            words[card.name] = card.name if known_cards().get(card.name) == card else word.strip()
    return words


def _show(chosen: "list[Choice]", costs: dict[str, float]) -> None:
    from manyeyes.cli.tables import out, plain_table

    table = plain_table(["backbone", "ms a photo", "gain", "gain a second", "of all's time %"])
    spent = 0.0
    for one in chosen:
        spent += one.cost
        table.add_row(
            one.backbone,
            f"{one.cost:.1f}",
            f"{one.gain:.4f}",
            f"{1e3 * one.gain / one.cost:.2f}",
            f"{100 * spent / sum(costs.values()):.0f}",
        )
    for name in costs:
        if name not in {one.backbone for one in chosen}:
            table.add_row(name, f"{costs[name]:.1f}", "", "", "", style="dim")
    out.print(table)
    out.print("gain: of the evidence, in nats a photo and class", style="dim")
