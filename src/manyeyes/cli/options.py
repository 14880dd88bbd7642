"""Options that several commands share, and what ``-q`` and ``-v`` do."""

import logging
import warnings
from pathlib import Path
from typing import Annotated

import typer

from manyeyes.progress import console

_log = logging.getLogger("manyeyes")


class _ToConsole(logging.Handler):
    """Log lines go where progress goes, so that neither writes over the other."""

    def emit(self, record: logging.LogRecord) -> None:
        console.print(self.format(record), soft_wrap=True)


def is_verbose() -> bool:
    return _log.isEnabledFor(logging.INFO)


def _set_verbose(wanted: bool) -> None:
    # Libraries warn those who program with them; whoever uses a program cannot follow their advice.
    warnings.simplefilter("default" if wanted else "ignore")
    if not _log.handlers:
        _log.addHandler(_ToConsole())
    if wanted:
        _log.setLevel(logging.INFO)


def _set_quiet(wanted: bool) -> None:
    console.quiet = wanted
    if wanted:
        _log.setLevel(logging.ERROR)


Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", callback=_set_verbose, help="Say more; show a traceback on errors.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", callback=_set_quiet, help="No progress and no remarks.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never touch the network (also: MANYEYES_OFFLINE=1).")]
AcceptUndeclared = Annotated[
    bool,
    typer.Option("--accept-undeclared-licence", help="Use weights whose publisher declares no licence."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
Zoo = Annotated[str, typer.Option(help="lite, mirror, paper, modern, or a comma-separated list of cards.")]


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) == 0:
        raise typer.BadParameter(f"{text!r} is neither auto nor a number above zero.")
    return int(text)


EngineName = Annotated[
    str, typer.Option("--engine", help="What runs the backbones: auto (the fastest here), torch, openvino or cuda.")
]
PrecisionName = Annotated[
    str,
    typer.Option(
        "--precision",
        help="What backbones compute in: fp32, bf16, or auto: bf16 where the machine has it and it was shown to do no "
        "harm.",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", parser=_batch_size, metavar="auto|N", show_default="auto", help="Photos in one pass."),
]
Features = Annotated[
    str | None,
    typer.Option(
        "--features",
        metavar="PLACE",
        help="Where features are kept: a folder, or a URL such as s3://bucket/features. [default: the cache]",
    ),
]
MaxRejected = Annotated[
    float, typer.Option(min=0, max=1, help="Stop when a larger share of the photos cannot be read.")
]
Bundle = Annotated[Path, typer.Argument(metavar="MODEL", help="The folder of a model that `manyeyes fit` wrote.")]
# No type of its own: where another source of photos may be named instead, there may be none.
LABELLED_PHOTOS = typer.Argument(
    metavar="PHOTOS", help="A folder with a folder for each class, or a CSV or Parquet manifest; or the URL of one."
)
PHOTOS = typer.Argument(metavar="PHOTOS...", help="Photos, folders to search for photos, manifests; or URLs of these.")
