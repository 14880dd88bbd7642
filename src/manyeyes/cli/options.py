"""Options that several commands share, and what ``-q`` and ``-v`` do."""

import logging
import shlex
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manyeyes.home import network_off
from manyeyes.progress import console

if TYPE_CHECKING:
    from manyeyes.backbones.card import Card

_log = logging.getLogger("manyeyes")


def one_card(name: str) -> "Card":
    """The card of a single backbone. Raises ChoiceError for a zoo of several."""
    from manyeyes.backbones.zoo import read_zoo
    from manyeyes.errors import ChoiceError

    cards = read_zoo(name)
    if len(cards) > 1:
        raise ChoiceError(f"one backbone is wanted; {name} names {', '.join(card.name for card in cards)}")
    return cards[0]


def read_budget(text: str) -> float:
    """``1.1x``, or the number alone."""
    try:
        budget = float(text.lower().removesuffix("x"))
    except ValueError:
        budget = 0.0
    if not budget > 1:
        raise typer.BadParameter(f"a budget is a multiple above 1, such as 1.1x, not {text!r}", param_hint="--budget")
    return budget


def command_line() -> str:
    """The command as another person would type it: without this machine's folders."""
    words = (Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:])
    return shlex.join(["manyeyes", *words])


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


def _set_offline(context: typer.Context, wanted: bool) -> bool:
    context.with_resource(network_off(wanted))  # until the command ends: photos and features may lie behind URLs
    return wanted


Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", callback=_set_verbose, help="Say more; show a traceback on errors.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", callback=_set_quiet, help="No progress and no remarks.")]
Offline = Annotated[
    bool,
    typer.Option("--offline", callback=_set_offline, help="Never touch the network (also: MANYEYES_OFFLINE=1)."),
]
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
