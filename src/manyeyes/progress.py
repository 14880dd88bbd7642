"""Progress on the terminal: for everything a user waits for longer than two seconds, and silent in a pipe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# Progress and remarks go to stderr, so that stdout holds results only. No markup: a folder may be called "[red]".
console = Console(stderr=True, highlight=False, markup=False)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A spinner beside ``what`` until the block ends."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=_is_quiet()) as progress:
        progress.add_task(what, total=None)
        yield


@contextmanager
def counting(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar with rate and time left; the block gets a function to call with each number of ``unit``\\ s done."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=_is_quiet()) as progress:
        task = progress.add_task(what, total=total, rate="")

        def advance(count: int = 1) -> None:
            progress.advance(task, count)
            speed = progress.tasks[task].speed
            progress.update(task, rate=f"{speed:.1f} {unit}/s" if speed else "")

        yield advance


def _is_quiet() -> bool:
    return console.quiet or not console.is_terminal
