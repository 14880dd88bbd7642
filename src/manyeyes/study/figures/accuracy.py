"""Figure "accuracy": all methods at one look."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from manyeyes.study.figures.style import COLOURS, FAINT, GRID, bare, name_rows, new_figure
from manyeyes.study.methods import Kind
from manyeyes.study.outcomes import Outcomes


def draw_accuracy(outcomes: Outcomes, title: str) -> Figure:
    """A dot for each split and a tick for the mean, by kind of method and from worst to best."""
    results = [one for one in outcomes.results() if one.scores]
    kinds = [kind for kind in Kind if any(one.method.kind is kind for one in results)]
    rows = [
        one
        for kind in kinds
        for one in sorted((one for one in results if one.method.kind is kind), key=lambda one: one.mean("accuracy"))
    ]
    figure = new_figure(1.5 + 0.2 * len(rows), f"Accuracy of every method · {title}")
    axes = figure.add_subplot()
    for row, one in enumerate(rows):
        values = 100 * np.array([scores.accuracy for scores in one.scores])
        colour = COLOURS[one.method.kind]
        axes.plot(values, np.full(len(values), row), "o", color=colour, alpha=0.45, markersize=4.5, markeredgewidth=0)
        axes.plot([values.mean()] * 2, [row - 0.36, row + 0.36], color=colour, linewidth=2.4, solid_capstyle="butt")
        axes.annotate(
            f"{values.mean():.1f}",
            (1.005, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
        )
    for row in range(1, len(rows)):
        if rows[row].method.kind is not rows[row - 1].method.kind:
            axes.axhline(row - 0.5, color=GRID, linewidth=0.8)
    name_rows(axes, [one.method.name for one in rows])
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("accuracy % on photos not trained on · one dot a split, tick: mean", color=FAINT)
    bare(axes, "x")
    handles = [Line2D([], [], marker="o", linestyle="", color=COLOURS[kind], label=kind.value) for kind in kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handletextpad=0.1, columnspacing=1.2)
    return figure
