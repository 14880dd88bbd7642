"""``manyeyes report``: a page for a browser on how good a model is on photos, with each photo and its votes."""

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
    from manyeyes.classifier import ManyEyesClassifier
    from manyeyes.report.judged import Judged


def report(
    model: Bundle,
    photos: Annotated[str, LABELLED_PHOTOS],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page, a file of HTML.")] = Path("report.html"),
    engine: EngineName = "auto",
    features: Features = None,
    offline: Offline = False,
    accept_undeclared_licence: AcceptUndeclared = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Write a page on how good a model is on labelled photos: one file that opens in any browser, without a network.

    It holds small copies of the photos, up to a thousand. Of photos with splits, those of `train` are left out.
    """
    from manyeyes.classifier import ManyEyesClassifier
    from manyeyes.cli.evaluate import look_at_labelled

    check_report(output, model)
    from manyeyes.report.judged import judge

    loaded = ManyEyesClassifier.load(model, offline, accept_undeclared_licence, engine, features)
    seen, labels, paths = look_at_labelled(loaded, photos)
    write(loaded, judge(loaded, seen, labels, paths), output, photos)


def check_report(output: Path, model: Path) -> None:
    """Raise what is wrong before all photos are looked at: among others ChoiceError for a page in the model's folder,
    which would be no bundle any more."""
    from manyeyes.errors import ChoiceError

    if model.resolve() in output.resolve().parents:
        raise ChoiceError(f"{output} lies in the model's own folder: choose another place for the report")
    check_output(output, "report", "manyeyes.report.write", "report")


def write(model: "ManyEyesClassifier", judged: "Judged", output: Path, photos: str) -> None:
    """Write the page, and say where it is."""
    from manyeyes.images.photo import readable
    from manyeyes.report.write import write_report

    name = photos.rstrip("/").rpartition("/")[2] if "://" in photos else Path(photos).resolve().name
    write_report(model, judged, output, f"How good it is on {readable(name)}")
    typer.echo(f"report written to {output} ({output.stat().st_size / 1e6:.1f} MB)")
