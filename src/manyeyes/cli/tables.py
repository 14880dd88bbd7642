"""Tables and bars on the terminal: one look for all commands."""

from collections.abc import Sequence

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from manyeyes.study.methods import Kind
from manyeyes.study.metrics import Scores
from manyeyes.study.outcomes import Result

# Results go to stdout, so that they can be piped; where there is no terminal to fit, nothing is wrapped: one row, one
# line, however long a path is.
# No markup: a class may be called "[red]".
out = Console(highlight=False, markup=False)
if not out.is_terminal:
    out = Console(highlight=False, markup=False, width=10_000)

BAR = "█"

# The last on two lines: a table with the longest method's name is then 78 columns wide.
SCORES = ("accuracy %", "macro F1 %", "log loss", "calibration\nerror %")


def title(text: str) -> None:
    """Print a heading; not as a table's own title, which would be wrapped to the width of the table."""
    out.print(Text(text, "bold"), soft_wrap=True)


def plain_table(columns: Sequence[str], numeric_from: int = 1) -> Table:
    """A table without lines; columns from ``numeric_from`` on are right-aligned."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for index, column in enumerate(columns):
        justify: JustifyMethod = "right" if index >= numeric_from else "left"
        table.add_column(column, justify=justify, vertical="bottom", overflow="fold")
    return table


def results_table(results: Sequence[Result]) -> Table:
    """Every method's accuracy (with its spread over the splits), macro F1, log loss and calibration error."""
    table = plain_table(["method", *SCORES])
    best = max((one.mean("accuracy") for one in results if one.method.kind is not Kind.BOUND), default=0.0)
    before = None
    for one in results:
        kind = one.method.kind
        if before is not None and kind is not before:
            table.add_row("")
        before = kind
        accuracy = f"{100 * one.mean('accuracy'):.1f}"
        if len(one.scores) > 1:
            accuracy += f" ± {100 * one.spread('accuracy'):.1f}"
        is_best = kind is not Kind.BOUND and one.mean("accuracy") == best
        style = "bold green" if is_best else {Kind.MIXTURE: "cyan", Kind.OURS: "cyan"}.get(kind, "")
        table.add_row(
            Text(one.method.name, style),
            Text(accuracy, style),
            f"{100 * one.mean('macro_f1'):.1f}",
            f"{one.mean('log_loss'):.3f}",
            f"{100 * one.mean('calibration_error'):.1f}",
        )
    return table


def scores_row(name: str, scores: Scores) -> list[str]:
    return [
        name,
        f"{100 * scores.accuracy:.1f}",
        f"{100 * scores.macro_f1:.1f}",
        f"{scores.log_loss:.3f}",
        f"{100 * scores.calibration_error:.1f}",
    ]


def bar(share: float, width: int = 20) -> str:
    """A horizontal bar for a share in [0, 1]."""
    return (BAR * round(share * width)).ljust(width, "·")


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
