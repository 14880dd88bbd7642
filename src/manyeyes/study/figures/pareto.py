"""Figure on a search for smaller networks within a large one: what all paths came to, and what the chosen one keeps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from manyeyes.study.figures.block_strip import BlockStrip
from manyeyes.study.figures.labels import Label, Points, place
from manyeyes.study.figures.style import BLUE, FAINT, GREY, INK, VERMILION, bare, new_figure
from manyeyes.study.paths import JudgedPath, PathSearch
from manyeyes.study.paths_text import macs_unit, say_macs

# The metric's axis shows the better half of the paths, and of the others what lies within so many times its range.
BETTER_HALF = 3.0
# Of the most expensive path: a budget beyond this binds nothing, and is not drawn.
FAR_BUDGET = 1.3
STEPS = [1, 2, 2.5, 5, 10]
FRONT = 4.1  # inches


def draw_front(search: PathSearch, title: str) -> Figure:
    """All paths by MACs and metric, and what the chosen one keeps of each block."""
    strip = BlockStrip(search)
    figure = new_figure(FRONT + strip.height + 0.4, title, strip.width)
    above, below = figure.subfigures(2, 1, height_ratios=[FRONT, strip.height], squeeze=False)[:, 0]
    strip.draw(below)
    _draw_paths(above.subplots(), search)
    return figure


def _draw_paths(axes: Axes, search: PathSearch) -> None:
    unit, unit_name = macs_unit(max(one.macs for one in (*search.paths, search.full)))
    places, line = _places(search.paths, search, unit), _places(search.front, search, unit)
    full, chosen = _places([search.full, search.chosen], search, unit)
    axes.plot(*places.T, "o", color=GREY, alpha=0.4, markersize=4, markeredgewidth=0, zorder=2)
    axes.plot(*line.T, "o-", drawstyle="steps-post", color=BLUE, linewidth=1.6, markersize=5, zorder=3)
    marks: dict[str, Any] = {"markersize": 10, "markeredgecolor": "white", "markeredgewidth": 1.2, "zorder": 4}
    axes.plot(*full, "D", color=VERMILION if search.chosen == search.full else INK, **marks)
    if search.chosen != search.full:
        axes.plot(*chosen, "o", color=VERMILION, **marks)
    low, high = _span(places, full, chosen, search)
    crowd = [places, _along(line)]
    costs = [*places[:, 0], full[0], chosen[0]]
    if (budget := search.budget / unit) <= FAR_BUDGET * max(costs):
        costs.append(budget)
        _draw_budget(axes, budget, f"budget: {say_macs(search.budget)}")
        crowd.append(np.column_stack([np.full(30, budget), np.linspace(low, high, 30)]))
    axes.set_xlim(*_padded(min(costs), max(costs), 0.1 * max(costs)))
    axes.set_ylim(low, high)
    axes.set_xlabel(f"multiply-accumulates for one photo{f', {unit_name}s' if unit_name else ''}", color=FAINT)
    name = search.metric.name + (f", {search.metric.unit}" if search.metric.unit else "")
    axes.set_ylabel(name if search.metric.more_is_better else f"{name}: less is better", color=FAINT)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=STEPS))
    ticks = MaxNLocator(6, steps=STEPS).tick_values(low, high)
    axes.set_yticks([tick for tick in ticks if low < tick < high and not (search.metric.unit == "%" and tick > 100)])
    axes.grid()
    bare(axes)
    beyond = _mark_beyond(axes, places, search.metric.more_is_better)
    labels = _labels(axes, search, places, line, full, chosen, beyond)
    place(axes, labels, np.concatenate([*crowd, beyond]))


def _places(paths: Sequence[JudgedPath], search: PathSearch, unit: float) -> Points:
    """MACs in their unit and metric in its own, (paths, 2)."""
    return np.array([(one.macs / unit, search.metric.scaled(one.metric)) for one in paths])


def _draw_budget(axes: Axes, budget: float, words: str) -> None:
    axes.axvline(budget, color=FAINT, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        words,
        (budget, 1.015),
        xycoords=("data", "axes fraction"),
        ha="center",
        fontsize=8.5,
        color=FAINT,
    )


def _along(line: Points) -> Points:
    """Points on the steps between those of the line, (n, 2)."""
    corners = np.column_stack([line[1:, 0], line[:-1, 1]])
    knees = np.empty((len(line) + len(corners), 2))
    knees[::2], knees[1::2] = line, corners
    where = np.linspace(0, len(knees) - 1, 100 * len(knees))
    return np.column_stack([np.interp(where, range(len(knees)), column) for column in knees.T])


def _span(places: Points, full: Points, chosen: Points, search: PathSearch) -> tuple[float, float]:
    """The ends of the metric's axis: a path that fails must not press together those that people choose among."""
    sign = 1 if search.metric.more_is_better else -1
    values = sign * np.array([*places[:, 1], full[1], chosen[1]])
    best, half = values.max(), min(np.median(values), *values[-2:])
    low = max(values.min(), best - BETTER_HALF * (best - half)) if half < best else values.min()
    low, high = sorted((sign * low, sign * best))
    return _padded(low, high, 0.02 * abs(high) or 1.0)


def _padded(low: float, high: float, least: float) -> tuple[float, float]:
    """With air on both sides: a little of the range, and this much where there is none."""
    air = 0.09 * (high - low) or least
    return low - air, high + air


def _mark_beyond(axes: Axes, places: Points, more_is_better: bool) -> Points:
    """Marks at the edge of the axis for the paths that it does not show, (paths, 2)."""
    low, high = axes.get_ylim()
    costs = places[(places[:, 1] < low) | (places[:, 1] > high), 0]
    air = 0.015 * (high - low)
    marks = np.column_stack([costs, np.full(len(costs), low + air if more_is_better else high - air)])
    mark = "v" if more_is_better else "^"
    axes.plot(*marks.T, mark, color=GREY, alpha=0.6, markersize=5, markeredgewidth=0)
    return marks


def _labels(
    axes: Axes, search: PathSearch, places: Points, line: Points, full: Points, chosen: Points, beyond: Points
) -> list[Label]:
    """What is named, the most important first."""
    metric = search.metric
    value = metric.say(search.chosen.metric)
    if search.chosen == search.full:
        labels = [Label(f"the full network is chosen\n{value}", full[None], VERMILION, "bold")]
    else:
        times = f"chosen: {search.share(search.chosen):.2f}× the MACs\n{value}"
        labels = [
            Label(times, chosen[None], VERMILION, "bold"),
            Label(f"the full network\n{metric.say(search.full.metric)}", full[None], INK, "bold"),
        ]
    low, high = axes.get_ylim()
    on_axis = (places[:, 1] >= low) & (places[:, 1] <= high)
    seen = line[(line[:, 1] >= low) & (line[:, 1] <= high)]
    if len(line) > 1 and len(seen):
        labels.append(Label("the front: no other path is\nas good by the loss and as cheap", seen, BLUE))
    front = search.front
    dots = on_axis & np.array([one not in front for one in search.paths])
    if dots.any():
        # Those of the worse half stand apart from the front.
        worst = places[dots][np.argsort(places[dots, 1] * (1 if metric.more_is_better else -1))]
        words = f"a dot: one of the {len(places)} paths judged"
        labels.append(Label(words, worst[: 1 + len(worst) // 2], FAINT))
    if len(beyond):
        words = f"{len(beyond)} path{'s' if len(beyond) > 1 else ''} worse than the axis shows"
        labels.append(Label(words, beyond, FAINT))
    return labels
