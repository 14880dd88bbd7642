"""What asking fewer backbones costs and saves: accuracy against MACs and time, of cascades and of fixed choices.

    python benchmarks/budget.py FLOWERS17 CALTECH101 TRASHNET6 HYMENOPTERA2 --zoo mirror -o docs/results/budget.md

Half of each class's photos learn, half judge, both ways. Orders, prices, gates and subsets are chosen by the photos
that learn; what those that judge would have chosen is told apart. Finished parts are kept in a folder, and a run that
was stopped goes on there.
"""

import argparse
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from budget_page import draw, text
from record import keep
from sklearn.model_selection import StratifiedGroupKFold

from manyeyes import ManyEyesClassifier
from manyeyes.backbones.zoo import read_zoo
from manyeyes.experts.lesson import Lesson
from manyeyes.features.extract import Extraction
from manyeyes.features.table import FeatureTable, backbone_of
from manyeyes.fusion.auto import Auto
from manyeyes.fusion.budget import macs_of
from manyeyes.fusion.cascade import Cascade
from manyeyes.fusion.frontier import Frontier, Looks
from manyeyes.fusion.fusion import Fusion
from manyeyes.fusion.order import Together
from manyeyes.images import read_photos
from manyeyes.threads import cores, one_thread

FOLDS = 2
BUDGETS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.12, 0.16, 0.2, 0.3, 0.5, 1.0)
# Of the photos that are right by all backbones, so many are to stay right.
TARGETS = (0.99, 0.995, 0.999)
WAYS = ("confidence", "thumbnail", "both")
# Always the same backbones: the best so many, and the best that cost no more than this.
SIZES, MOST = (1, 2, 3, 4), (0.05, 0.12, 0.3)
# A gate is trained for one budget, and moved along to the others.
TRAINED_FOR = 0.12

Costs = dict[str, float]


class Stages(Auto):
    """Stages that were fitted before, for cascades that differ in who decides how far to look."""

    fitted: list[Fusion]

    def fit_nested(self, lesson: Lesson, prefixes: Any) -> list[Fusion]:
        return self.fitted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--zoo", default="mirror")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kept", type=Path, help="folder of finished parts")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    model = ManyEyesClassifier(zoo=arguments.zoo, accept_undeclared_licence=True)
    macs, milliseconds = macs_of(read_zoo(arguments.zoo)), model.milliseconds()
    runs: dict[str, list[dict[str, Any]]] = {}
    for folder in arguments.photos:
        found = read_photos(folder)
        seen = model.look(found.paths)
        labels = np.array(found.select(seen.is_good).labels)
        # One after the other: all at once they would hold the features many times over.
        calls = (
            joblib.delayed(finished)(
                arguments.kept and arguments.kept / f"{arguments.zoo}-{folder.name}-{seed}-{fold}.json",
                seen.select(train),
                labels[train],
                seen.table[test],
                labels[test],
                macs,
            )
            for seed in range(arguments.seeds)
            for fold, (train, test) in enumerate(halves(seen, labels, seed))
        )
        with joblib.parallel_config("loky", n_jobs=arguments.workers, inner_max_num_threads=1):
            runs[folder.name] = joblib.Parallel(pre_dispatch="n_jobs")(calls)
        print(folder.name, [run["by all"] for run in runs[folder.name]], flush=True)
    results = {"macs": macs, "milliseconds": milliseconds, "runs": runs}
    keep(arguments.output, "As few backbones as a photo needs", results, text(results, arguments.zoo))
    if arguments.output is not None:
        draw(results, arguments.output)


def halves(seen: Extraction, labels: np.ndarray, seed: int) -> Any:
    groups = seen.together()
    return StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(
        labels, labels, np.arange(len(labels)) if groups is None else groups
    )


def finished(
    kept: Path | None, train: Extraction, y: np.ndarray, test: FeatureTable, truth: np.ndarray, macs: Costs
) -> dict[str, Any]:
    if kept is not None and kept.exists():
        return dict(json.loads(kept.read_text()))
    run = once(train, y, test, truth, macs)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(run))
    return run


def once(train: Extraction, y: np.ndarray, test: FeatureTable, truth: np.ndarray, macs: Costs) -> dict[str, Any]:
    with one_thread():
        lesson = Lesson(train.table, y, train.together())
        whole, ways = Stages(), {}
        first = Cascade(Auto(), macs).fit_lesson(lesson)
        whole.fitted = first.stages_
        said, labels = first.opinions_of_stages(test), np.searchsorted(first.classes_, truth)
        fixed = always(lesson, test, truth, macs)
        rivals = [one["cost"] for one in fixed.values()]
        for way in WAYS:
            budget = 1.0 if way == "confidence" else TRAINED_FOR
            cascade = first if way == "confidence" else Cascade(whole, macs, budget, way).fit_lesson(lesson)
            ways[way] = judged(cascade.looks(said, test), cascade.learnt, said, labels, rivals)
        ways["threshold"] = judged(by_threshold(said, first), threshold_learnt(first, lesson), said, labels, rivals)
        return {
            "order": first.order_,
            "photos": len(labels),
            "by all": float((said[:, -1].argmax(axis=1) == labels).mean()),
            "ways": ways,
            "always": fixed,
        }


def by_threshold(said: np.ndarray, cascade: Cascade) -> Looks:
    """As cascades usually stop: at one threshold on the probability, whatever the next look costs."""
    return Looks(1 - np.exp(said[:, :-1].max(axis=2)), None, cascade.costs_so_far(), "confidence")


def threshold_learnt(cascade: Cascade, lesson: Lesson) -> Frontier:
    said = np.stack([stage.out_of_fold_ for stage in cascade.stages_], axis=1)
    known = np.isfinite(said).all(axis=(1, 2)) & (lesson.weights > 0)
    return Frontier.of(by_threshold(said[known], cascade), said[known], lesson.labels[known], lesson.weights[known])


def judged(looks: Looks, learnt: Frontier, said: np.ndarray, labels: np.ndarray, rivals: list[float]) -> dict[str, Any]:
    """What one cascade comes to on the photos that judge: how many stop at each stage, and the share that is right;
    within budgets, those of rivals too."""
    right = said.argmax(axis=2) == labels[:, None]

    def come_to(price: float) -> dict[str, Any]:
        stops = looks.stops(price)
        return {
            "stops": np.bincount(stops, minlength=right.shape[1]).tolist(),
            "accuracy": float(right[np.arange(len(right)), stops].mean()),
        }

    # The least cost by the very photos that judge: what a perfect choice of the price would come to.
    found = Frontier.of(looks, said, labels)
    best = {
        target: found.prices[np.flatnonzero(found.accuracies >= target * found.accuracies[-1] - 1e-9)[0]]
        for target in (*TARGETS, 1.0)
    }
    return {
        "within": {str(one): come_to(learnt.price(one)) for one in (*BUDGETS, *rivals) if learnt.allows(one).any()},
        "keeping": {str(one): come_to(learnt.keeping(one)) for one in TARGETS},
        "in hindsight": {str(one): come_to(float(price)) for one, price in best.items()},
    }


def always(lesson: Lesson, test: FeatureTable, truth: np.ndarray, macs: Costs) -> dict[str, dict[str, Any]]:
    """The best subsets of each size and cost, by what experts on each backbone know together of left-out photos."""
    blocks = {name: [one for one in lesson.table.names if backbone_of(one) == name] for name in macs}
    together, total = Together(lesson, blocks), sum(macs.values())
    lacking = {names: together.lacking(names) for size in range(1, 6) for names in combinations(macs, size)}
    chosen = {f"the best {size}": [names for names in lacking if len(names) == size] for size in SIZES}
    chosen |= {
        f"the best for {share:.0%}": [names for names in lacking if sum(macs[one] for one in names) <= share * total]
        for share in MOST
    }
    fitted: dict[tuple[str, ...], dict[str, Any]] = {}
    chosen = {what: some for what, some in chosen.items() if some}
    for some in chosen.values():
        names = min(some, key=lambda names: lacking[names])
        if names not in fitted:
            fused = Auto().fit_lesson(lesson.of_blocks([one for name in names for one in blocks[name]]))
            cost = sum(macs[one] for one in names) / total
            fitted[names] = {"names": names, "cost": cost, "accuracy": float((fused.predict(test) == truth).mean())}
    return {what: fitted[min(some, key=lambda names: lacking[names])] for what, some in chosen.items()}


if __name__ == "__main__":
    main()
