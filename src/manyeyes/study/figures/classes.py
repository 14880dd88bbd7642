"""Figures on classes: who tells which best, who wins how many, and whom the gates trust on which (figs. 4 and 5)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from manyeyes.backbones.nets import FINAL
from manyeyes.experts import FloatArray
from manyeyes.features.table import tap_of
from manyeyes.study.agreement import class_f1, classes_won, contested_classes
from manyeyes.study.figures.style import (
    BLUE,
    COLOURS,
    DIVERGING,
    FAINT,
    GREY,
    INK,
    WIDTH,
    bare,
    name_rows,
    new_figure,
    short,
)
from manyeyes.study.methods import Kind
from manyeyes.study.outcomes import Outcomes

# Classes that a heat map shows at most: those that differ most from the mean.
MOST_ROWS = 24


def label(outcomes: Outcomes, name: str) -> str:
    """A backbone by its own name, a fusion by the method's."""
    return outcomes.method(name).backbone or name


def draw_class_f1(outcomes: Outcomes, backbones: Sequence[str], fused: Sequence[str], title: str) -> Figure | None:
    """Fig. 4: F1 on classes that different backbones win, beside the fusions'. None where no backbone wins a class."""
    contested = contested_classes(outcomes, backbones)
    if not contested:
        return None
    names = [*backbones, *fused]
    figure = new_figure(1.7 + 0.25 * len(names), f"On these classes different backbones are best · {title}")
    panels = figure.subplots(1, len(contested), sharey=True, squeeze=False)[0]
    f1 = {name: class_f1(outcomes, name) for name in names}
    lowest = min(f1[name][one.index] for name in names for one in contested)
    for axes, one in zip(panels, contested, strict=True):
        values = [f1[name][one.index] for name in names]
        colours = [COLOURS[outcomes.method(name).kind] for name in names]
        bars = axes.barh(range(len(names)), values, color=colours, height=0.72)
        for bar, name in zip(bars, names, strict=True):
            if name in fused:
                bar.set(hatch="////", edgecolor="white", linewidth=0)
            elif name == one.winner:
                bar.set_color(BLUE)
        for row, value in enumerate(values):
            axes.annotate(
                f"{100 * value:.1f}", (value, row), (3, 0), textcoords="offset points", va="center", fontsize=7.5
            )
        axes.set_title(short(outcomes.classes[one.index]))
        axes.set_xlim(max(0.0, lowest - 0.12), 1.06)
        name_rows(axes, [label(outcomes, name) for name in names])
        bare(axes)
        axes.set_xticks([])
    note = "F1 %, over all seeds · blue: the backbone that wins the class, hatched: fusions · axes do not start at 0"
    figure.supxlabel(note, fontsize=9, color=FAINT)
    return figure


def draw_classes_won(outcomes: Outcomes, backbones: Sequence[str], fused: Sequence[str], title: str) -> Figure:
    """Fig. 5: classes on which a method is the most accurate: backbones only, and with each of the fusions."""
    fields = [list(backbones), *([*backbones, one] for one in fused)]
    figure = new_figure(1.8 + 0.25 * (len(backbones) + 1), f"Who is best on how many classes? · {title}")
    panels = figure.subplots(1, len(fields), sharey=True, sharex=True, squeeze=False)[0]
    rows = [*backbones, *fused]
    for axes, names in zip(panels, fields, strict=True):
        wins = classes_won(outcomes, names)
        for row, name in enumerate(rows):
            if name not in wins:
                continue
            alone, tied = wins[name].alone, wins[name].tied
            colour = COLOURS[outcomes.method(name).kind]
            axes.barh(row, alone, color=colour, height=0.72)
            axes.barh(row, tied, left=alone, color=colour, alpha=0.35, height=0.72)
            text = f"{alone} + {tied}" if tied else f"{alone}"
            axes.annotate(text, (alone + tied, row), (4, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_title("backbones only" if len(names) == len(backbones) else f"with {names[-1]}", color=FAINT)
        axes.margins(x=0.22)
        name_rows(axes, [label(outcomes, name) for name in rows])
        bare(axes, "x")
    judged = len(np.unique(outcomes.labels[outcomes.judged.any(axis=0)]))
    figure.supxlabel(
        f"classes of {judged} · full colour: won alone, pale: tied with others (a tie counts for all of them)",
        fontsize=9,
        color=FAINT,
    )
    return figure


def draw_gate_weights(outcomes: Outcomes, name: str, title: str) -> Figure:
    """Whom a gate trusts on photos of each class: its mean weights, beside those over all classes.

    The method must be one of those that are :func:`explained`, here and below.
    """
    experts, weights = _told(outcomes, name)
    heading = f"Whom {name} trusts, class by class · {title}"
    figure = _heat_map(outcomes, 100 * weights, experts, heading, "{:.1f}", faintest=5.0)
    figure.supxlabel(
        "mean weight of each expert, % · colour: more (vermilion) or less (blue) than on the mean over all classes",
        fontsize=9,
        color=FAINT,
    )
    return figure


def draw_contributions(outcomes: Outcomes, name: str, title: str) -> Figure:
    """What each block adds to the log-odds of the predicted class, on the mean over each class's photos."""
    blocks, values = _told(outcomes, name)
    # Blocks of other taps stand beside their backbone's own.
    columns = [block if tap_of(block) == FINAL else f"+ {tap_of(block)}" for block in blocks]
    heading = f"What {name} rests on, class by class · {title}"
    figure = _heat_map(outcomes, values, columns, heading, "{:.1f}", faintest=0.5)
    figure.supxlabel(
        "log-odds that each block adds to the predicted class over the runner-up, mean over the class's photos\n"
        "colour: more (vermilion) or less (blue) than on the mean over all classes",
        fontsize=9,
        color=FAINT,
    )
    return figure


def _told(outcomes: Outcomes, name: str) -> tuple[Sequence[str], FloatArray]:
    told = outcomes.mean_shares(name)
    if told is None:
        raise ValueError(f"{name} does not tell what counts how much")
    return told


def _heat_map(
    outcomes: Outcomes, values: FloatArray, columns: Sequence[str], title: str, form: str, faintest: float
) -> Figure:
    """Classes × columns, coloured by the difference to the column's mean; the mean of all classes on top.

    Colours are full at the greatest difference, or at ``faintest`` where all are smaller.
    """
    known = np.flatnonzero(~np.isnan(values).any(axis=1))
    mean = values[known].mean(axis=0)
    order = np.argsort(-np.abs(values[known] - mean).max(axis=1), kind="stable")[:MOST_ROWS]
    shown = np.sort(known[order])
    matrix = np.vstack([mean, values[shown]])
    difference = matrix - mean
    limit = max(float(np.abs(difference).max()), faintest)
    figure = new_figure(2.2 + 0.21 * len(matrix), title, width=max(WIDTH, 2.2 + 0.42 * len(columns)))
    axes = figure.add_subplot()
    axes.imshow(difference, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto")
    for (row, column), value in np.ndenumerate(matrix):
        strong = abs(difference[row, column]) > 0.75 * limit
        axes.text(
            column,
            row,
            form.format(value).replace("-", "−") if float(form.format(value)) else "0",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if strong else INK,
            fontweight="bold" if row == 0 else "normal",
        )
    all_shown = len(shown) == len(known)
    first = "all classes" if all_shown else f"all {len(known)} classes"
    axes.set_yticks(range(len(matrix)), [first, *(short(outcomes.classes[index]) for index in shown)], fontsize=8)
    axes.get_yticklabels()[0].set_fontweight("bold")
    axes.set_xticks(range(len(columns)), [short(column) for column in columns], rotation=35, ha="right", fontsize=8)
    axes.axhline(0.5, color=GREY, linewidth=0.8)
    if not all_shown:
        axes.set_title(f"the {len(shown)} classes that differ most from the mean", color=FAINT)
    bare(axes)
    return figure


def explained(outcomes: Outcomes, kind: Kind) -> list[str]:
    """Methods of this kind that tell what counted how much, and not the same for every photo."""
    chosen = []
    for name in outcomes.names(kind):
        told = outcomes.mean_shares(name)
        if told is not None and len(told[0]) > 1 and np.nanstd(told[1], axis=0).max() > 1e-6:
            chosen.append(name)
    return chosen
