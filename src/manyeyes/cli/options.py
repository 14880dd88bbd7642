"""Options that several commands share, and what ``-q`` and ``-v`` do."""

import logging
import warnings
from pathlib import Path
from typing import Annotated

import typer

from manyeyes.progress import console

_log = logging.getLogger("manyeyes")


def is_verbose() -> bool:
    return _log.isEnabledFor(logging.INFO)


def _set_verbose(wanted: bool) -> None:
    # Libraries warn those who program with them; whoever uses a program cannot follow their advice.
    warnings.simplefilter("default" if wanted else "ignore")
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
Bundle = Annotated[Path, typer.Argument(metavar="MODEL", help="The folder of a model that `manyeyes fit` wrote.")]
