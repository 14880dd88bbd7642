"""``manyeyes features``: the cache of what backbones saw."""

from typing import Annotated

import typer

from manyeyes.cli.options import Features, Quiet, Verbose

app = typer.Typer(no_args_is_help=True, help="The feature cache: what it holds, and how to empty it.")


@app.command("info")
def info(features: Features = None, verbose: Verbose = False, quiet: Quiet = False) -> None:
    """How many photos of which backbones the cache holds, and how large it is."""
    from manyeyes.cli.tables import out, plain_table, size, title
    from manyeyes.features.store import FeatureStore

    store = FeatureStore(features)
    spaces = store.info()
    title(f"feature cache at {store.root}")
    table = plain_table(["what", "photos", "size"])
    for space in spaces:
        table.add_row(space.name, f"{space.photos:,}", size(space.bytes))
    table.add_row("all", "", size(sum(space.bytes for space in spaces)), style="bold")
    out.print(table)


@app.command("prune")
def prune(
    everything: Annotated[
        bool, typer.Option("--all", help="Also the features themselves: all are computed anew.")
    ] = False,
    name: Annotated[list[str] | None, typer.Option("--backbone", help="Also the features of this backbone.")] = None,
    features: Features = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Remove what killed runs left behind and gather small files into larger ones; with --all or --backbone also
    remove features.
    """
    from manyeyes.cli.tables import size
    from manyeyes.errors import UnknownNameError
    from manyeyes.features.store import FeatureStore

    store, names = FeatureStore(features), set(name or [])
    if unknown := names - {space.name for space in store.spaces()}:
        raise UnknownNameError(f"the cache holds nothing of {', '.join(sorted(unknown))}: see `manyeyes features info`")
    freed = store.prune(lambda space: everything or space.name in names)
    typer.echo(f"{size(freed)} freed")
