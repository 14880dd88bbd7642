"""What asking fewer backbones costs and saves: accuracy against MACs, of a cascade and of what one could always ask.

    python benchmarks/budget.py FLOWERS17 CALTECH101 TRASHNET6 HYMENOPTERA2 --zoo mirror -o docs/results/budget.md

Half of each class's photos learn, half judge, both ways. Orders, thresholds and subsets are chosen by the photos that
learn; nothing is by those that judge.
"""

import argparse
from itertools import combinations
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from paired import spread
from record import keep, table
from sklearn.model_selection import StratifiedGroupKFold

from manyeyes import ManyEyesClassifier
from manyeyes.backbones.zoo import read_zoo
from manyeyes.experts.lesson import Lesson
from manyeyes.features.extract import Extraction
from manyeyes.features.table import FeatureTable, backbone_of
from manyeyes.fusion.auto import Auto
from manyeyes.fusion.cascade import Cascade, Frontier, stops
from manyeyes.fusion.order import Together
from manyeyes.images import read_photos
from manyeyes.threads import cores, one_thread

FOLDS = 2
BUDGETS = (0.03, 0.05, 0.07, 0.1, 0.12, 0.16, 0.2, 0.3, 0.5, 1.0)
# Of the photos that are right by all backbones, so many are to stay right.
TARGETS = (0.99, 0.999, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--zoo", default="mirror")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    costs = {card.name: float(card.macs or 0) for card in read_zoo(arguments.zoo)}
    runs: dict[str, list[dict[str, Any]]] = {}
    for folder in arguments.photos:
        found = read_photos(folder)
        seen = ManyEyesClassifier(zoo=arguments.zoo).look(found.paths)
        labels = np.array(found.select(seen.is_good).labels)
        calls = [
            joblib.delayed(once)(seen.select(train), labels[train], seen.table[test], labels[test], costs)
            for seed in range(arguments.seeds)
            for train, test in halves(seen, labels, seed)
        ]
        with joblib.parallel_config("loky", n_jobs=cores(), inner_max_num_threads=1):
            runs[folder.name] = joblib.Parallel()(calls)
        print(folder.name, [run["by all"] for run in runs[folder.name]], flush=True)
    keep(arguments.output, "As few backbones as a photo needs", {"costs": costs, "runs": runs}, text(runs, arguments))


def halves(seen: Extraction, labels: np.ndarray, seed: int) -> Any:
    groups = seen.together()
    return StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(
        labels, labels, np.arange(len(labels)) if groups is None else groups
    )


def once(
    train: Extraction, y: np.ndarray, test: FeatureTable, truth: np.ndarray, costs: dict[str, float]
) -> dict[str, Any]:
    with one_thread():
        lesson = Lesson(train.table, y, train.together())
        cascade = Cascade(Auto(), costs).fit_lesson(lesson)
        said, labels = cascade.opinions_of_stages(test), np.searchsorted(cascade.classes_, truth)
        total = cascade.costs_so_far()[-1]
        sure, learnt = np.exp(said.max(axis=2)), cascade.learnt
        right, spent = said.argmax(axis=2) == labels[:, None], cascade.costs_so_far() / total

        def come_to(threshold: float) -> dict[str, float]:
            stopped = stops(sure, threshold)
            return {
                "cost": float(spent[stopped].mean()),
                "accuracy": float(right[np.arange(len(right)), stopped].mean()),
            }

        within = {str(one): come_to(learnt.threshold(one)) for one in BUDGETS if learnt.allows(one).any()}
        always = {}
        for names in best_subsets(lesson, costs):
            blocks = [name for name in test.names if backbone_of(name) in names]
            fused = Auto().fit_lesson(lesson.of_blocks(blocks))
            accuracy = float((fused.predict(test) == truth).mean())
            cost = sum(costs[name] for name in names) / total
            always[" + ".join(names)] = {"cost": cost, "accuracy": accuracy}
    return {
        "order": cascade.order_,
        "by all": float(right[:, -1].mean()),
        "within": within,
        "keeping": {str(one): come_to(learnt.keeping(one)) for one in TARGETS},
        "in hindsight": {str(one): hindsight(said, labels, spent, one) for one in TARGETS},
        "always": always,
    }


def hindsight(said: np.ndarray, labels: np.ndarray, costs: np.ndarray, target: float) -> dict[str, float]:
    """The least cost by the very photos that judge: what a perfect choice of the threshold would come to."""
    found = Frontier.of(said, labels, costs)
    at = int(np.flatnonzero(found.thresholds == found.keeping(target))[0])
    return {"cost": float(found.costs[at]), "accuracy": float(found.accuracies[at])}


def best_subsets(lesson: Lesson, costs: dict[str, float]) -> list[tuple[str, ...]]:
    """Of each number of backbones the best, by what experts on each know together of left-out photos."""
    together = Together(
        lesson, {name: [one for one in lesson.table.names if backbone_of(one) == name] for name in costs}
    )
    return [min(combinations(costs, size), key=together.lacking) for size in range(1, len(costs))]


def text(runs: dict[str, list[dict[str, Any]]], arguments: argparse.Namespace) -> str:
    names = list(runs)
    every = [run for name in names for run in runs[name]]

    def kept(part: str, key: str, some: list[dict[str, Any]]) -> list[str]:
        ones = [run[part][key] | {"all": run["by all"]} for run in some if key in run[part]]
        if not ones:
            return ["", ""]
        share = np.mean([one["accuracy"] for one in ones]) / np.mean([one["all"] for one in ones])
        return [f"{100 * np.mean([one['cost'] for one in ones]):.1f}", f"{100 * share:.2f}"]

    head = ["", *(f"{name}: {what}" for name in [*names, "all"] for what in ("cost %", "kept %"))]
    groups = [*(runs[name] for name in names), every]
    rows = [
        [f"keep {100 * target:g}%", *(cell for some in groups for cell in kept("keeping", str(target), some))]
        for target in TARGETS
    ]
    rows += [
        [
            f"… in hindsight {100 * target:g}%",
            *(cell for some in groups for cell in kept("in hindsight", str(target), some)),
        ]
        for target in TARGETS
    ]
    rows += [
        [f"budget {100 * one:g}%", *(cell for some in groups for cell in kept("within", str(one), some))]
        for one in BUDGETS
    ]
    return "\n\n".join(
        [
            f"Zoo {arguments.zoo}; {FOLDS} folds, {arguments.seeds} seeds; cost in % of the MACs of all backbones, and "
            "how many of the photos that are right by all stay right. By all: "
            + ", ".join(f"{name} {spread([run['by all'] for run in runs[name]])}" for name in names)
            + ". *Keep*: the least cost at which the training photos, by what had not seen them, keep so much. *In "
            "hindsight*: chosen by the photos that judge, which nobody can.",
            table(head, rows),
            "Always the same backbones, the best of each number, and the cascade within the same cost:",
            table(
                ["", *(f"{name}: {what}" for name in names for what in ("cost %", "always", "cascade"))], static(runs)
            ),
        ]
    )


def static(runs: dict[str, list[dict[str, Any]]]) -> list[list[str]]:
    sizes = len(next(iter(runs.values()))[0]["always"])
    rows = []
    for size in range(sizes):
        cells = []
        for some in runs.values():
            pairs = [
                (one, at_cost(run["within"], one["cost"]))
                for run in some
                for one in [list(run["always"].values())[size]]
            ]
            cells.append(f"{100 * np.mean([one['cost'] for one, _ in pairs]):.1f}")
            cells.append(spread([one["accuracy"] for one, _ in pairs]))
            cells.append(spread([rival for _, rival in pairs]) if all(rival for _, rival in pairs) else "")
        rows.append([f"{size + 1}", *cells])
    return rows


def at_cost(within: dict[str, dict[str, float]], cost: float) -> float:
    """Accuracy of the cascade with the largest budget that cost no more than this; 0 where all cost more."""
    return max(
        (one["cost"], one["accuracy"]) for one in [{"cost": 0, "accuracy": 0}, *within.values()] if one["cost"] <= cost
    )[1]


if __name__ == "__main__":
    main()
