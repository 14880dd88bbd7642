"""``manyeyes extract``: look at photos now, train on what was seen later."""

import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from typer.core import TyperCommand

from manyeyes.cli.options import (
    PHOTOS,
    AcceptUndeclared,
    BatchSize,
    EngineName,
    Features,
    Offline,
    PrecisionName,
    Quiet,
    Verbose,
    Zoo,
)
from manyeyes.progress import console

if TYPE_CHECKING:
    from typer._click import Context

    from manyeyes.backbones.nets import PrecisionChoice
    from manyeyes.features.extract import Filling

# The address that stands for a cluster of this machine's cores, started for the run.
HERE = "local"
ADDRESS = re.compile(rf"auto|{HERE}|ray://\S+|[\w.-]+:\d+")
HOST = re.compile(r"\w[\w.-]*:?")
FORM = "write `auto`, `HOST:PORT` (Ray's own port is 6379) or `ray://HOST:PORT`."


def _check_address(address: str | None) -> str | None:
    if address is not None and not ADDRESS.fullmatch(address):
        raise typer.BadParameter(f"{address!r} is no address: {FORM}")
    return address


class ExtractCommand(TyperCommand):
    """``--ray`` may stand alone, though typer knows no options whose value may be left out."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        for place, word in enumerate(args):
            following = "".join(args[place + 1 : place + 2])
            if word == "--ray" and not ADDRESS.fullmatch(following):
                if HOST.fullmatch(following) and not Path(following).exists():
                    raise typer.BadParameter(f"{following!r} is neither a photo or folder nor an address: {FORM}")
                args[place] = f"--ray={HERE}"
        return super().parse_args(ctx, args)


def extract(
    photos: Annotated[list[str], PHOTOS],
    zoo: Zoo = "lite",
    taps: Annotated[
        str | None,
        typer.Option(help="Where backbones are read, comma-separated. [default: wherever `fit` reads them]"),
    ] = None,
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
    batch_size: BatchSize = None,
    features: Features = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            callback=_check_address,
            help="Look with Ray: on all cores of this machine, or on the cluster at an address (`auto`: the one that "
            "this machine belongs to).",
        ),
    ] = None,
    rejected: Annotated[
        Path | None,
        typer.Option(metavar="CSV", dir_okay=False, help="Where to list the photos that cannot be read."),
    ] = None,
    offline: Offline = False,
    accept_undeclared_licence: AcceptUndeclared = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Look at photos and keep what the backbones see, so that `fit`, `study` and `predict` need not look again.

    Photos need no labels. A run that was stopped goes on from there when the command is given again.
    """
    from manyeyes.backbones.zoo import read_zoo
    from manyeyes.cli.tables import size
    from manyeyes.errors import PhotoSourceError
    from manyeyes.features.extract import fill_store, spaces_of
    from manyeyes.features.eyes import Eyes
    from manyeyes.features.space import THUMBNAILS
    from manyeyes.features.store import FeatureStore
    from manyeyes.images import list_photos, write_rejected

    if rejected is not None:
        _check_that_it_can_be_written(rejected)
    how = (cast("PrecisionChoice", precision), engine, batch_size)
    eyes = Eyes(read_zoo(zoo), _taps(taps), *how, accept_undeclared_licence, offline)
    store = FeatureStore(features)
    paths = list_photos(photos)
    if not paths:
        raise PhotoSourceError(f"no photos in {', '.join(photos)}")
    console.print(f"{len(paths):,} photos found", soft_wrap=True)
    backbones = eyes.load()
    start = time.perf_counter()
    if ray:
        from manyeyes.features.distributed import fill_store_with_ray

        filling = fill_store_with_ray(paths, eyes, backbones, store, None if ray == HERE else ray)
    else:
        filling = fill_store(paths, backbones, store)
    _say(filling, time.perf_counter() - start)
    if rejected is not None:
        write_rejected(rejected, filling.rejected)
    kept = sum(store.size(space.folder) for space in (*spaces_of(backbones).values(), THUMBNAILS))
    typer.echo(f"features kept at {store.root}: {size(kept)} of these backbones")
    if not filling.photos:
        raise PhotoSourceError(f"none of the {len(paths):,} photos can be read")


def _check_that_it_can_be_written(listing: Path) -> None:
    """Now, and not after hours of looking."""
    try:
        tempfile.TemporaryFile(dir=listing.parent).close()
    except OSError as error:
        raise typer.BadParameter(f"--rejected: {listing} cannot be written: {error.strerror}.") from None


def _taps(taps: str | None) -> tuple[str, ...]:
    from manyeyes.backbones.nets import FINAL, SECOND_ORDER
    from manyeyes.errors import UnknownNameError
    from manyeyes.fusion import FUSIONS

    known = FINAL, SECOND_ORDER
    chosen = tuple(dict.fromkeys(tap.strip() for tap in taps.split(","))) if taps else FUSIONS["auto"].taps
    if unknown := set(chosen) - set(known):
        raise UnknownNameError(f"no tap is called {', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    return chosen


def _say(filling: "Filling", seconds: float) -> None:
    distinct, refused = len(set(filling.photos)), filling.rejected
    rate = f" in {seconds:,.1f} s ({filling.computed / seconds:,.1f} photos/s)" if filling.computed else ""
    typer.echo(
        f"{filling.computed:,} photos looked at now{rate}; {distinct - filling.computed:,} were there already; "
        f"{len(filling.photos) - distinct:,} are copies of others; {len(refused):,} could not be read"
    )
    for one in refused[:10]:
        console.print(f"  left out: {one}", soft_wrap=True)
    if len(refused) > 10:
        console.print(f"  … and {len(refused) - 10:,} more (all of them with --rejected FILE.csv)", soft_wrap=True)
