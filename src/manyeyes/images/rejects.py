"""What becomes of the files that are no good photos: a list for their owner, and an end when they are too many."""

import csv
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from manyeyes.errors import TooManyRejectedError
from manyeyes.images.photo import Rejected

_SHOWN = 3


class RejectedPhotoWarning(UserWarning):
    """Some photos could not be read; they were left out, and nothing was put in their place."""


def warn_rejected(rejected: Sequence[Rejected]) -> None:
    """Warn of photos that were left out, if any."""
    if rejected:
        first = "; ".join(str(one) for one in rejected[:_SHOWN])
        warnings.warn(f"{len(rejected)} photos could not be read: {first}", RejectedPhotoWarning, stacklevel=4)


def write_rejected(path: str | os.PathLike[str], rejected: Sequence[Rejected]) -> None:
    """Write the columns path, reason, detail as UTF-8 CSV; an existing file is replaced at once or not at all.

    Bytes of a file name that are not UTF-8 are written as ``\\udcff``. A cell that begins with ``=``, ``+``, ``-``,
    ``@``, a tab or a carriage return gets a leading ``'``, so that no spreadsheet takes a file's name for a formula.
    """
    target = Path(path)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "reason", "detail"))
            writer.writerows((_cell(each.path), _cell(each.reason), _cell(each.detail)) for each in rejected)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def check_rejected(rejected: Sequence[Rejected], total: int, limit: float = 0.2) -> None:
    """Raise TooManyRejectedError when more than the share ``limit`` of ``total`` photos was rejected."""
    if len(rejected) <= limit * total:
        return
    reasons = ", ".join(
        f"{count} {reason}" for reason, count in Counter(each.reason for each in rejected).most_common()
    )
    first = "; ".join(str(each) for each in rejected[:_SHOWN])
    raise TooManyRejectedError(
        f"{len(rejected)} of {total} photos cannot be used, more than {limit:.0%}: {reasons}; "
        f"mend or remove them, or allow more; first {first}",
        rejected,
    )


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
