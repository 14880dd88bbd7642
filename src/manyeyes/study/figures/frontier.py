"""Figure on a cascade: how many photos are right for what it costs to look at them."""

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from manyeyes.study.budget import BudgetStudy, Within
from manyeyes.study.figures.style import BLUE, FAINT, GREY, GRID, VERMILION, bare, new_figure

HEIGHT = 4.6  # inches


def draw_frontier(study: BudgetStudy, title: str) -> Figure:
    """Accuracy by cost: within each budget, and where the first backbones of the order are always asked.

    A band of one standard error about the accuracy by all backbones tells which differences so few photos can show.
    """
    figure = new_figure(HEIGHT, title)
    axes = figure.subplots()
    within, always = _places(study.within), _places(study.always)
    (chosen,) = _places([study.chosen])
    all_right = always[-1, 1]
    error = (all_right * (100 - all_right) / study.photos) ** 0.5
    axes.axhspan(all_right - error, all_right + error, color=GRID, alpha=0.6, linewidth=0, zorder=0)
    axes.axhline(all_right, color=FAINT, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1, label="all, ± standard error")
    axes.plot(*always.T, "o", color=GREY, markersize=6, zorder=2, label="always the first 1, 2, 3 … of the order")
    axes.plot(*within.T, "o-", color=BLUE, linewidth=1.6, markersize=5, zorder=3, label="as many as a photo wants")
    axes.plot(*chosen, "o", color=VERMILION, markersize=10, markeredgecolor="white", markeredgewidth=1.2, zorder=4)
    axes.annotate(
        f"budget {study.chosen.name}",
        chosen,
        (0, 11),
        textcoords="offset points",
        ha="center",
        color=VERMILION,
        fontweight="bold",
    )
    lowest, highest = (function([*within[:, 1], *always[:, 1]]) for function in (min, max))
    axes.set_ylim(min(lowest, all_right - error) - error, max(highest, all_right + error) + error)
    axes.set_xscale("log")
    axes.set_xticks([share for share in (1, 2, 5, 10, 20, 50, 100) if share >= 0.9 * always[0, 0]])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}%"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("cost of a photo on the mean, of what all backbones take", color=FAINT)
    axes.set_ylabel("accuracy, %", color=FAINT)
    axes.grid()
    axes.legend(frameon=False, loc="lower right")
    bare(axes)
    return figure


def _places(rows: tuple[Within, ...] | list[Within]) -> npt.NDArray[np.float64]:
    """Cost and accuracy in %, (rows, 2)."""
    return np.array([(100 * one.cost, 100 * one.accuracy) for one in rows])
