"""Figures on whether the backbones agree, and what their disagreement is worth (the paper's figs. 2 and 3)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from manyeyes.study.agreement import accuracy_where, disagreement, kappas, rescue
from manyeyes.study.figures.style import (
    BLUE,
    COLOURS,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    SEQUENTIAL,
    VERMILION,
    bare,
    name_rows,
    new_figure,
    short,
)
from manyeyes.study.methods import Kind
from manyeyes.study.outcomes import Outcomes


def draw_kappa(outcomes: Outcomes, backbones: Sequence[str], title: str) -> Figure:
    """Fig. 2: Cohen's kappa of every pair, as a matrix, and as the paper's box plot of all pairs."""
    names = [outcomes.method(name).backbone for name in backbones]
    matrix = kappas(outcomes, backbones)
    pairs = matrix[np.tril_indices(len(names), -1)]
    figure = new_figure(2.3 + 0.34 * len(names), f"Do the backbones agree? · {title}")
    top, bottom = figure.subplots(2, 1, height_ratios=[0.34 * len(names) + 0.3, 0.75])
    lower = np.where(np.tri(len(names), k=-1, dtype=bool), matrix, np.nan)
    low = min(float(pairs.min()), 0.99)
    top.imshow(lower[1:, :-1], cmap=SEQUENTIAL, vmin=low, vmax=1, aspect="auto")
    for row in range(1, len(names)):
        for column in range(row):
            dark = (matrix[row, column] - low) / (1 - low) > 0.5
            text = f"{matrix[row, column]:.2f}"
            top.text(column, row - 1, text, ha="center", va="center", fontsize=8, color="white" if dark else INK)
    top.set_yticks(range(len(names) - 1), [short(name) for name in names[1:]])
    top.set_xticks(range(len(names) - 1), [short(name) for name in names[:-1]], rotation=28, ha="right")
    top.set_title("Cohen's κ of every pair: 1 is full agreement, 0 what chance would give", color=FAINT)
    bare(top)
    bottom.boxplot(
        pairs,
        orientation="horizontal",
        widths=0.5,
        showmeans=True,
        medianprops={"color": ORANGE, "linewidth": 2},
        meanprops={"marker": "^", "markerfacecolor": GREEN, "markeredgecolor": GREEN},
        boxprops={"color": FAINT},
        whiskerprops={"color": FAINT},
        capprops={"color": FAINT},
        flierprops={"marker": "o", "markersize": 4, "markeredgecolor": FAINT},
    )
    bottom.set_yticks([1], ["all pairs"])
    bottom.set_xlabel("κ · line: median, triangle: mean, box: middle half of the pairs", color=FAINT)
    bare(bottom, "x")
    return figure


def draw_rescue(outcomes: Outcomes, backbones: Sequence[str], title: str) -> Figure:
    """Fig. 3: how many backbones are right at once, and how many of the best one's errors nobody gets right."""
    found = rescue(outcomes, backbones)
    best = outcomes.method(found.best).backbone
    figure = new_figure(4.2, f"How many backbones are right at once? · {title}")
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    shares = 100 * found.shares
    colours = [VERMILION, *[BLUE] * (len(shares) - 1)]
    bars = left.bar(range(len(shares)), shares, color=colours, width=0.75)
    left.bar_label(bars, [_percent(share) for share in shares], fontsize=8, padding=2)
    left.set_xticks(range(len(shares)))
    left.set_xlabel(f"backbones that are right, of {len(backbones)}")
    left.set_ylabel("share of the photos, %")
    left.set_title("A  photos by how many backbones get them right", color=FAINT)
    left.margins(y=0.12)
    bare(left, "y")
    rescued = found.errors - found.all_wrong
    right.bar([0], [found.all_wrong], color=VERMILION, width=0.5)
    right.bar([0], [rescued], bottom=[found.all_wrong], color=GREEN, width=0.5)
    parts = [
        (found.all_wrong / 2, found.all_wrong, found.ratio, "no backbone right"),
        (found.all_wrong + rescued / 2, rescued, 1 - found.ratio, "another is right"),
    ]
    for y, count, share, text in parts:
        if count:
            right.annotate(f"{count} ({100 * share:.0f}%)\n{text}", (0.3, y), va="center", fontsize=8.5)
    right.set_xlim(-0.35, 1.15)
    right.set_xticks([])
    right.set_ylabel(f"errors of {short(best)}, all seeds together")
    right.yaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_title("B  the errors of the best one", color=FAINT)
    bare(right)
    return figure


def draw_disagreement(outcomes: Outcomes, backbones: Sequence[str], title: str) -> Figure:
    """How often every method is right on the photos on which the backbones do not all say the same."""
    where = disagreement(outcomes, backbones)
    share = where.sum() / outcomes.judged.sum()
    fusions = [name for name in outcomes.names() if outcomes.method(name).kind is not Kind.SINGLE]
    found = [(accuracy_where(outcomes, name, where), name) for name in (*backbones, *fusions)]
    rows = sorted(found, key=lambda row: row[0])
    names = [name for _, name in rows]
    colours = [COLOURS[outcomes.method(name).kind] for name in names]
    figure = new_figure(1.4 + 0.19 * len(rows), f"Where the backbones disagree · {title}")
    axes = figure.add_subplot()
    values = np.array([100 * value for value, _ in rows])
    axes.hlines(range(len(rows)), 0, values, colors=colours, linewidth=1.2, alpha=0.5)
    axes.scatter(values, range(len(rows)), c=colours, s=26, zorder=3)
    for row, value in enumerate(values):
        axes.annotate(f"{value:.1f}", (value, row), (6, 0), textcoords="offset points", va="center", fontsize=8)
    name_rows(axes, names)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlim(0, 108)
    axes.set_xlabel(f"accuracy % on the {100 * share:.1f}% of the photos on which they do not all say the same")
    bare(axes, "x")
    return figure


def _percent(share: float) -> str:
    return f"{share:.1f}" if share < 10 else f"{share:.0f}"
