"""What `architecture.py` writes of its runs."""

import argparse
from typing import Any

import numpy as np
from record import table
from scipy.stats import binomtest

FULL, INHERITED = "the whole network", "searched, inherited"
RIVALS = (FULL, "random path", "searched, reset", "random path, inherited")
YEARS = "mean absolute error"
# Of tasks whose metric is the lower the better.
SIGNS = {"age": -1}


def text(
    runs: list[dict[str, Any]],
    ranks: list[dict[str, Any]],
    source: dict[str, float],
    tasks: list[str],
    arguments: argparse.Namespace,
    share: float,
) -> str:
    names, draws = list(runs[0]["rows"]), f"{arguments.seeds} draws" if arguments.seeds > 1 else "one draw"
    figures = {task: list(runs_of(runs, task)[0]["rows"][FULL]["ends"]) for task in tasks}
    head = ["", *(f"{task}: {metric}" for task in tasks for metric in figures[task]), "MACs", "parameters", "seconds"]
    rows = []
    for name in names:
        cells = [
            spread([one["rows"][name]["ends"][metric] for one in runs_of(runs, task)], metric)
            for task in tasks
            for metric in figures[task]
        ]
        costs = [f"{np.mean([one['rows'][name][what] for one in runs]):.2f}" for what in ("macs", "parameters")]
        rows.append([name, *cells, *costs, f"{np.mean([one['rows'][name]['seconds'] for one in runs]):.0f}"])
    against = [
        [f"{INHERITED} − {rival}", *(difference(runs, task, rival) for task in tasks), wins(runs, tasks, rival)]
        for rival in RIVALS
    ]
    stages = {stage: np.mean([one["seconds"][stage] for one in runs]) for stage in runs[0]["seconds"]}
    before = [
        [
            name,
            *(
                spread([one["rows"][name]["begins"][metric] for one in runs_of(runs, task)], metric)
                for task in tasks
                for metric in figures[task]
            ),
        ]
        for name in names
    ]
    return "\n\n".join(
        [
            f"{arguments.backbone} at {arguments.size} pixels, {arguments.epochs} epochs of tuning, and as many of "
            f"training what was chosen; {draws} of the photos, mean ± standard deviation. At most "
            f"{share:g} of the MACs, but for the whole network. *Random path*: one of as many MACs. *Reset*: trained "
            "from the weights that the backbone came with; *inherited*: from those that its paths were tuned to on the "
            "target. *Self-supervised*: paths were tuned on the source only, without a label, and judged on the target "
            "by a ridge regression on their features. Seconds: of one core, for the training of what was chosen.",
            table(head, rows),
            f"Differences, in the units of the table, and in how many of the {len(runs)} runs the former is better, "
            "with the sign test of that:",
            table(["", *tasks, "better in"], against),
            "Before it is trained by itself (from the weights as they came with a head that is fitted anew):",
            table(head[:-3], before),
            "Seconds of one core, on the mean over tasks: "
            + ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in stages.items())
            + ". Once for all tasks, by all cores: tuning on the source, with labels and without, "
            f"{source['tuned']:.0f}; the search there {source['searched']:.0f}.",
            *ranking(ranks, tasks),
        ]
    )


def ranking(ranks: list[dict[str, Any]], tasks: list[str]) -> list[str]:
    if not ranks:
        return []
    ordered = sorted(ranks, key=lambda one: tasks.index(one["task"]))
    words = (
        f"Whether the supernet knows which of {len(ranks[0]['pairs'])} paths (0.3 to 0.8 of the MACs) are better when "
        "each is trained by itself from the weights as they came: Kendall's tau of its loss on held-out photos, and "
        "their metric on photos to judge by."
    )
    return [words, table(["", "tau", "p"], [[one["task"], f"{one['tau']:+.2f}", f"{one['p']:.2g}"] for one in ordered])]


def runs_of(runs: list[dict[str, Any]], task: str) -> list[dict[str, Any]]:
    return sorted((one for one in runs if one["task"] == task), key=lambda one: one["seed"])


def spread(values: list[float], metric: str) -> str:
    scaled = np.array(values) * (1 if metric == YEARS else 100)
    return f"{scaled.mean():.1f}" + (f" ± {scaled.std(ddof=1):.1f}" if len(scaled) > 1 else "")


def gains(runs: list[dict[str, Any]], task: str, rival: str) -> list[float]:
    """By how much the searched path that inherits is better than another, in each run."""
    rows = [one["rows"] for one in runs_of(runs, task)]
    return [SIGNS.get(task, 1) * (principal(one[INHERITED]["ends"]) - principal(one[rival]["ends"])) for one in rows]


def difference(runs: list[dict[str, Any]], task: str, rival: str) -> str:
    found = np.array(gains(runs, task, rival)) * (1 if task == "age" else 100)
    return f"{found.mean():+.1f}" + (f" ± {found.std(ddof=1):.1f}" if len(found) > 1 else "")


def wins(runs: list[dict[str, Any]], tasks: list[str], rival: str) -> str:
    found = [gain for task in tasks for gain in gains(runs, task, rival) if gain]
    better = sum(gain > 0 for gain in found)
    return f"{better} of {len(found)} (p = {binomtest(better, len(found)).pvalue:.2g})" if found else ""


def principal(metrics: dict[str, float]) -> float:
    return next(iter(metrics.values()))
