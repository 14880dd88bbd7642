"""Figure on the two classes that are confused most (the paper's fig. 6)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from manyeyes.features.table import FeatureTable
from manyeyes.study.confusion import ConfusedPair, feature_map, mapped_photos
from manyeyes.study.figures.photos import show_photo
from manyeyes.study.figures.style import BLUE, FAINT, VERMILION, bare, name_rows, new_figure, short
from manyeyes.study.outcomes import Outcomes

EXAMPLES = 5
MAPS_IN_A_ROW = 4
# Fewer photos than this make no map.
FEWEST_MAPPED = 8
HUES = (VERMILION, BLUE)


def draw_pair(
    outcomes: Outcomes,
    pair: ConfusedPair,
    backbones: Sequence[str],
    table: FeatureTable,
    paths: Sequence[str],
    title: str,
) -> Figure:
    """Fig. 6: photos of both classes, what each backbone takes them for, and how each one's features lie (t-SNE)."""
    names = [outcomes.method(name).backbone for name in backbones]
    rows = mapped_photos(outcomes, pair)
    map_rows = -(-len(names) // MAPS_IN_A_ROW) if len(rows) >= FEWEST_MAPPED else 0
    heights = [4.2, 1.0 + 0.22 * len(names), 2.1 * map_rows]
    first, second = (outcomes.classes[index] for index in pair.classes)
    heading = f"Most confused: {short(first)} and {short(second)} · {title}"
    figure = new_figure(sum(heights) + 0.5, heading)
    shown = [height for height in heights if height]
    parts = figure.subfigures(len(shown), 1, height_ratios=shown, squeeze=False)[:, 0]
    _photos(parts[0], outcomes, pair, paths)
    _said(parts[1], outcomes, pair, names)
    if map_rows:
        _maps(parts[2], outcomes, table, names, rows, pair, map_rows)
    return figure


def _photos(part: SubFigure, outcomes: Outcomes, pair: ConfusedPair, paths: Sequence[str]) -> None:
    cells = part.subplots(2, EXAMPLES, squeeze=False)
    for line, letter, index, hue, photos in zip(cells, "AB", pair.classes, HUES, pair.photos, strict=True):
        line[0].set_title(f"{letter}  {short(outcomes.classes[index])}", color=hue, fontweight="bold")
        for axes in line:
            axes.axis("off")
        for axes, photo in zip(line, photos, strict=False):
            show_photo(axes, paths[photo])


def _said(part: SubFigure, outcomes: Outcomes, pair: ConfusedPair, names: Sequence[str]) -> None:
    panels = part.subplots(1, 2, sharey=True)
    legend = [short(outcomes.classes[index]) for index in pair.classes] + ["any other class"]
    for axes, letter, index, counts in zip(panels, "CD", pair.classes, pair.said, strict=True):
        left = np.zeros(len(names))
        for column, colour in enumerate((*HUES, "#d1d5db")):
            axes.barh(range(len(names)), counts[:, column], left=left, color=colour, height=0.72, label=legend[column])
            left += counts[:, column]
        axes.set_title(f"{letter}  photos of {short(outcomes.classes[index])} are taken for", color=FAINT)
        axes.set_xlabel("photos, all seeds together", color=FAINT)
        name_rows(axes, names)
        bare(axes, "x")
    handles, labels = panels[0].get_legend_handles_labels()
    shown = 3 if pair.said[:, :, 2].any() else 2
    part.legend(handles[:shown], labels[:shown], loc="outside lower center", ncols=shown)


def _maps(
    part: SubFigure,
    outcomes: Outcomes,
    table: FeatureTable,
    names: Sequence[str],
    rows: npt.NDArray[np.int64],
    pair: ConfusedPair,
    map_rows: int,
) -> None:
    part.suptitle("E  t-SNE of each backbone's features: a dot a photo", x=0.008, ha="left", fontsize=9.5, color=FAINT)
    panels = part.subplots(map_rows, MAPS_IN_A_ROW, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        placed = feature_map(table, name, rows)
        for index, hue, marker in zip(pair.classes, HUES, "o^", strict=True):
            of_class = placed[outcomes.labels[rows] == index]
            axes.scatter(*of_class.T, s=11, color=hue, marker=marker, alpha=0.7, linewidths=0)
        axes.set_title(short(name), fontsize=8.5)
        _frame(axes)
    for axes in panels[len(names) :]:
        axes.axis("off")


def _frame(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(True)
