"""Figure on a cascade: how many photos are right for what it costs to look at them."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from manyeyes.study.budget import BudgetStudy, Within
from manyeyes.study.figures.labels import Label, Points, place
from manyeyes.study.figures.style import BLUE, FAINT, GREY, VERMILION, bare, new_figure

HEIGHT = 4.6  # inches


def draw_frontier(study: BudgetStudy, title: str) -> Figure:
    """Accuracy by cost: within each budget, and where the first backbones of the order are always asked."""
    figure = new_figure(HEIGHT, title)
    axes = figure.subplots()
    within, always = _places(study.within), _places(study.always)
    (chosen,) = _places([study.chosen])
    axes.axhline(always[-1, 1], color=FAINT, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
    axes.plot(*always.T, "o", color=GREY, markersize=6, zorder=2)
    axes.plot(*within.T, "o-", color=BLUE, linewidth=1.6, markersize=5, zorder=3)
    axes.plot(*chosen, "o", color=VERMILION, markersize=10, markeredgecolor="white", markeredgewidth=1.2, zorder=4)
    axes.set_xscale("log")
    axes.set_xticks([share for share in (1, 2, 5, 10, 20, 50, 100) if share >= 0.9 * always[0, 0]])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}%"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("cost of a photo on the mean, of what all backbones take", color=FAINT)
    axes.set_ylabel("accuracy, %", color=FAINT)
    axes.grid()
    bare(axes)
    labels = [
        Label(f"budget {study.chosen.name}", chosen[None], VERMILION, "bold"),
        Label("asked as far as it takes", within, BLUE),
        Label("always all", always[-1:], GREY),
        *(Label(one.name, point[None], GREY) for one, point in zip(study.always[:-1], always[:-1], strict=True)),
    ]
    along = np.geomspace(within[0, 0], within[-1, 0], 60)
    line = np.column_stack([along, np.interp(np.log(along), np.log(within[:, 0]), within[:, 1])])
    place(axes, labels, np.concatenate([line, always]))
    return figure


def _places(rows: "tuple[Within, ...] | list[Within]") -> Points:
    """Cost and accuracy in %, (rows, 2)."""
    return np.array([(100 * one.cost, 100 * one.accuracy) for one in rows])
