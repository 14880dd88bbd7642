"""Figure "few": accuracy by the number of photos a class, for each method and domain."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manyeyes.study.decathlon.methods import TITLES, Method
from manyeyes.study.decathlon.run import Result
from manyeyes.study.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    bare,
    house_style,
    new_figure,
    save,
    short,
)

COLOURS: dict[Method, str] = {
    "scratch": GREY,
    "feature": BLUE,
    "norms": SKY,
    "full": ORANGE,
    "series": PURPLE,
    "parallel": VERMILION,
    "parallel-svd": GREEN,
}
COLUMNS = 4


def draw_few(results: Sequence[Result], title: str) -> Figure:
    """A panel for the mean over domains and one for each; a line for each method, its band the range over seeds."""
    domains = list(dict.fromkeys(one.domain for one in results))
    known = {one.method for one in results}
    methods = [method for method in TITLES if method in known]
    rows = -(-(1 + len(domains)) // COLUMNS)
    figure = new_figure(0.9 + 2.1 * rows, f"{title} · accuracy % by photos a class to train on")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes, domain in zip(panels, ["", *domains], strict=False):
        mine = [one for one in results if domain in ("", one.domain)]
        for method in methods:
            _draw_line(axes, [one for one in mine if one.method == method], method)
        axes.set_title(short(domain) if domain else "mean of all domains", fontweight="normal" if domain else "bold")
        bare(axes, "y")
    for axes in panels[1 + len(domains) :]:
        axes.set_visible(False)
    handles, _ = panels[0].get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw_line(axes: Axes, results: Sequence[Result], method: Method) -> None:
    counts = sorted({one.per_class for one in results})
    means = np.array(
        [
            [
                100 * np.mean([one.accuracy for one in results if (one.per_class, one.seed) == (count, seed)])
                for seed in sorted({one.seed for one in results})
            ]
            for count in counts
        ]
    )
    places = range(len(counts))
    colour = COLOURS[method]
    axes.plot(places, means.mean(axis=1), "o-", color=colour, label=TITLES[method], markersize=4, linewidth=1.6)
    axes.fill_between(places, means.min(axis=1), means.max(axis=1), color=colour, alpha=0.15, linewidth=0)
    axes.set_xticks(places, [str(count or "all") for count in counts])


def write_few(results: Sequence[Result], title: str, path: Path) -> None:
    """Draw it as ``path`` (an .svg), and as a .png beside it."""
    with house_style():
        save(draw_few(results, title), path.parent, path.stem)
