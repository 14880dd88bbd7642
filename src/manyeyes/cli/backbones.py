"""``manyeyes backbones``: which nets there are, whose they are, and whether they are on this machine."""

import json
from typing import Annotated

import typer

from manyeyes.cli.options import AcceptUndeclared, Offline, Quiet, Verbose
from manyeyes.progress import console

app = typer.Typer(no_args_is_help=True, help="Backbones: list them, show one's card, fetch weights.")


@app.command("list")
def list_(
    zoo: Annotated[str | None, typer.Argument(help="Only this zoo.")] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Every card, by zoo: dimension, cost, licence, and whether the weights are on this machine."""
    from manyeyes.backbones.weights import is_here
    from manyeyes.backbones.zoo import ZOOS
    from manyeyes.cli.tables import out, plain_table

    shown = [zoo] if zoo else ZOOS.names()
    table = plain_table(["zoo", "backbone", "licence", "here", "D", "GMACs"], numeric_from=4)
    for name in shown:
        for index, card in enumerate(ZOOS[name]):
            table.add_row(
                name if index == 0 else "",
                card.name,
                card.licence or "not declared",
                "yes" if is_here(card) else "no",
                str(card.dimension),
                "" if card.macs is None else f"{card.macs:.2f}",
            )
    out.print(table)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A card, or a source such as timm:resnet18.a1_in1k.")],
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """One card, whole, as JSON."""
    from manyeyes.backbones.weights import is_here, weights_folder
    from manyeyes.backbones.zoo import read_zoo

    for card in read_zoo(name):
        here = {"on_this_machine": str(weights_folder(card)) if is_here(card) else None}
        typer.echo(json.dumps(card.to_dict() | here, indent=1, ensure_ascii=False))


@app.command("pull")
def pull(
    names: Annotated[list[str], typer.Argument(help="Cards, sources or zoos.")],
    offline: Offline = False,
    accept_undeclared_licence: AcceptUndeclared = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Fetch weights to this machine, check them, and verify each net by its reference embedding."""
    from manyeyes.backbones.weights import ensure_weights, is_here
    from manyeyes.backbones.zoo import read_zoo

    for card in read_zoo(",".join(names)):
        was_here = is_here(card)
        folder = ensure_weights(card, accept_undeclared_licence)
        console.print(f"{card.name}: {'already here' if was_here else 'fetched and verified'}", soft_wrap=True)
        typer.echo(str(folder))
