"""Progress on the terminal: for everything a user waits for longer than two seconds, and silent in a pipe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

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
def counting(what: str, total: int, unit: str) -> Iterator[Callable[[float], None]]:
    """A bar with rate and time left; the block gets a function to call with each number of ``unit`` done, or part of
    one. Any thread may call it."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=_is_quiet()) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


@contextmanager
def watching(what: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """A bar of steps with a remark that changes; the block gets a function to call with steps done and the remark."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[remark]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=_is_quiet()) as progress:
        task = progress.add_task(what, total=total, remark="")
        yield lambda steps, remark: progress.update(task, advance=steps, remark=remark)


class _Rate(ProgressColumn):
    """So many of a unit a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} {self._unit}/s" if task.speed else "")


def _is_quiet() -> bool:
    return console.quiet or not console.is_terminal
