"""The page and the figure of what asking fewer backbones comes to."""

from pathlib import Path
from typing import Any

import numpy as np
from paired import spread
from record import table
from scipy.stats import wilcoxon

NAMES = {"confidence": "cascade", "threshold": "threshold", "thumbnail": "gate", "both": "both"}
Run = dict[str, Any]
# Cost and time, as shares of all, and the share of the accuracy by all that is kept.
Figures = np.ndarray


def text(results: dict[str, Any], zoo: str) -> str:
    runs, macs = results["runs"], results["macs"]
    names, first = list(runs), next(iter(runs.values()))[0]
    kept = list(first["ways"]["confidence"]["keeping"])
    own, common = budgets(results, ["confidence"]), budgets(results, list(NAMES))
    hindsight = list(first["ways"]["confidence"]["in hindsight"])
    sets = ", ".join(f"{name} {spread([run['by all'] for run in some])}" for name, some in runs.items())
    return "\n\n".join(
        [
            f"Zoo {zoo}: {len(macs)} backbones, {sum(macs.values()) / 1e9:.1f} GMACs, "
            f"{sum(results['milliseconds'].values()):.0f} ms for a photo. Halves: "
            + ", ".join(f"{len(some)} of {name}" for name, some in runs.items())
            + f". By all, accuracy in %: {sets}.",
            "*Cost*: of the MACs of all backbones. *Time*: of theirs, each measured by itself on framed photos. "
            "*Kept*: of the accuracy by all. All in %, means over halves; over all sets, of the sets' means. "
            "*Cascade*: by confidence, one price. *Threshold*: the same with one threshold on the probability instead. "
            "*Gate*: by the thumbnail, before. *Both*: the gate says where the cascade may stop at the earliest.",
            "**What is to be kept is said beforehand**, and the price for it is learnt from the training photos:",
            by_set(results, "keeping", kept, [f"{100 * float(one):g}%" for one in kept]),
            by_way(results, "keeping", kept, [f"{100 * float(one):g}%" for one in kept]),
            "**The least cost by the very photos that judge**, which nobody can know:",
            by_set(results, "in hindsight", hindsight, [f"{100 * float(one):g}%" for one in hindsight]),
            "**Within a budget**, learnt from the training photos:",
            by_set(results, "within", own, [f"{100 * float(one):g}%" for one in own]),
            by_way(results, "within", common, [f"{100 * float(one):g}%" for one in common]),
            "**Always the same backbones**, chosen on the training photos by what they know together; and the cascade "
            "with what they cost for its budget, accuracy in %. *Gain*: of the cascade, in points, and in how many "
            "halves it is better (Wilcoxon's signed-rank test). *For*: what the cascade cost of what they cost.",
            fixed(results, names),
        ]
    )


def budgets(results: dict[str, Any], ways: list[str]) -> list[str]:
    """Those within which these can be, in all halves; rivals' costs differ."""
    runs = [run for some in results["runs"].values() for run in some]
    within = [set(run["ways"][way]["within"]) for run in runs for way in ways]
    rivals = {str(one["cost"]) for run in runs for one in run["always"].values()}
    return sorted(set.intersection(*within) - rivals, key=float)


def by_set(results: dict[str, Any], part: str, keys: list[str], names: list[str]) -> str:
    """The cascade by confidence, on each data set and on all."""
    sets = [*results["runs"], None]
    head = ["", *(f"{one or 'all'}: {what}" for one in sets for what in ("cost", "time", "kept"))]
    rows = [[mean_figures(results, "confidence", part, key, one) for one in sets] for key in keys]
    return table(head, [[name, *cells(row)] for name, row in zip(names, rows, strict=True)])


def by_way(results: dict[str, Any], part: str, keys: list[str], names: list[str]) -> str:
    """All data sets, by who decides."""
    head = ["all sets", *(f"{name}: {what}" for name in NAMES.values() for what in ("cost", "time", "kept"))]
    rows = [[mean_figures(results, way, part, key) for way in NAMES] for key in keys]
    return table(head, [[name, *cells(row)] for name, row in zip(names, rows, strict=True)])


def cells(row: list[Figures]) -> list[str]:
    return [f"{100 * value:.{digits}f}" for figures in row for value, digits in zip(figures, (1, 1, 2), strict=True)]


def mean_figures(results: dict[str, Any], way: str, part: str, key: str, name: str | None = None) -> Figures:
    """Of one data set, or of all."""
    sets = [name] if name else list(results["runs"])
    means = [
        np.mean([figures(results, run, run["ways"][way][part][key]) for run in results["runs"][one]], axis=0)
        for one in sets
    ]
    return np.mean(means, axis=0)


def figures(results: dict[str, Any], run: Run, one: Run) -> Figures:
    cost, time = (share(results[unit], run["order"], one["stops"]) for unit in ("macs", "milliseconds"))
    return np.array([cost, time, one["accuracy"] / run["by all"]])


def share(costs: dict[str, float], order: list[str], stops: list[int]) -> float:
    """What photos cost of which so many stop at each stage, as a share of what all backbones cost."""
    so_far = np.cumsum([costs[name] for name in order]) / sum(costs.values())
    return float(np.average(so_far, weights=stops))


def fixed(results: dict[str, Any], names: list[str]) -> str:
    rows = []
    for what in next(iter(results["runs"].values()))[0]["always"]:
        row, pairs = [what], []
        for name in names:
            some = [(run, run["always"][what]) for run in results["runs"][name]]
            own = [(run, one, run["ways"]["confidence"]["within"].get(str(one["cost"]))) for run, one in some]
            able = [three for three in own if three[2] is not None]
            row.append(f"{100 * np.mean([one['cost'] for _, one in some]):.1f}")
            row.append(spread([one["accuracy"] for _, one in some]))
            row.append(spread([mine["accuracy"] for _, _, mine in able]) if len(able) == len(some) else "")
            pairs += able
        gains = np.array([mine["accuracy"] - one["accuracy"] for _, one, mine in pairs])
        spent = [share(results["macs"], run["order"], mine["stops"]) / one["cost"] for run, one, mine in pairs]
        p_value = wilcoxon(gains).pvalue if gains.any() else 1.0
        row.append(f"{100 * gains.mean():+.2f}, {(gains > 0).sum()} of {len(gains)} (p = {p_value:.2g})")
        rows.append([*row, f"{np.mean(spent):.2f}"])
    columns = [f"{name}: {what}" for name in names for what in ("cost", "always", "cascade")]
    return table(["", *columns, "gain", "for"], rows)


def draw(results: dict[str, Any], output: Path) -> None:
    """What is kept against what it costs, the mean of all data sets: beside the page, as SVG and PNG."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    from manyeyes.study.figures.style import BLUE, FAINT, GREEN, GREY, VERMILION, bare, house_style, new_figure, save

    with house_style():
        figure = new_figure(4.8, "Accuracy that is kept, for what it costs")
        axes = figure.subplots()
        for way, colour in (("thumbnail", GREY), ("threshold", GREEN), ("both", VERMILION), ("confidence", BLUE)):
            points = [mean_figures(results, way, "within", budget)[[0, 2]] for budget in budgets(results, [way])]
            axes.plot(*(100 * np.array(points)).T, "o-", color=colour, markersize=4, linewidth=1.6, label=NAMES[way])
        always = next(iter(results["runs"].values()))[0]["always"]
        rivals = 100 * np.array([mean_rival(results, what) for what in always])
        axes.plot(*rivals.T, "s", color=FAINT, markersize=5, label="always the same")
        axes.set_xscale("log")
        axes.set_xticks([1, 2, 5, 10, 20, 50, 100])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}%"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("cost, of the MACs of all backbones", color=FAINT)
        axes.set_ylabel("kept of the accuracy by all, %", color=FAINT)
        axes.legend(frameon=False, loc="lower right")
        axes.grid()
        bare(axes)
        save(figure, output.parent, output.stem)


def mean_rival(results: dict[str, Any], what: str) -> Figures:
    """Cost and what is kept by backbones that are always asked, over all data sets."""
    means = [
        np.mean(
            [(run["always"][what]["cost"], run["always"][what]["accuracy"] / run["by all"]) for run in some], axis=0
        )
        for some in results["runs"].values()
    ]
    return np.mean(means, axis=0)
