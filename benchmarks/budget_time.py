"""Whether asking fewer backbones saves the time that it promises: predictions in turn against those by all backbones.

    python benchmarks/budget_time.py FLOWERS17 --zoo mirror -o docs/results/budget_time.md

Half of the photos learn. The others are looked at anew in each round, by all backbones and within one budget after
another, read and decoded each time. Budgets take turns, so that a busy machine is busy for all.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from record import keep, table
from sklearn.model_selection import train_test_split

from manyeyes import ManyEyesClassifier
from manyeyes.images import read_photos

BUDGETS = (1.0, 0.3, 0.12, 0.05, 0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--zoo", default="mirror")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most", type=int, default=340, help="photos that are looked at in each round")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    found = read_photos(arguments.photos)
    train, test, labels, truth = train_test_split(
        found.paths, found.labels, test_size=0.5, stratify=found.labels, random_state=0
    )
    test, truth = test[: arguments.most], np.array(truth[: arguments.most])
    units = ("share", "ms")
    models = {unit: fitted(train, labels, arguments.zoo, unit) for unit in units}
    milliseconds = models["ms"].fusion_.costs
    rows = []
    for unit, model in models.items():
        whole = 1.0 if unit == "share" else sum(milliseconds.values())
        model.predict(test[:32])  # networks are built once
        seconds = {budget: [] for budget in BUDGETS}
        for _ in range(arguments.rounds):
            for budget in BUDGETS:
                seconds[budget].append(looked_at(model.spend(budget * whole), test))
        for budget in BUDGETS:
            asked = model.spend(budget * whole).ask(test)
            spent = [share(model, asked, costs) for costs in (macs_of(model), milliseconds)]
            ratios = np.array(seconds[budget]) / np.array(seconds[BUDGETS[0]])
            right = (model.classes_[asked.log_proba.argmax(axis=1)] == truth).mean()
            rows.append(
                [
                    f"{'MACs' if unit == 'share' else 'ms'}, {budget:.0%}",
                    *(f"{100 * one:.1f}" for one in (*spent, np.median(ratios), ratios.min(), ratios.max())),
                    f"{np.median(ratios) / spent[unit == 'ms']:.2f}",
                    f"{1000 * np.median(seconds[budget]) / len(test):.1f}",
                    f"{100 * right:.1f}",
                ]
            )
    head = [
        "budget",
        "MACs %",
        "ms of backbones %",
        "wall time %",
        "least",
        "most",
        "wall / promised",
        "ms a photo",
        "right %",
    ]
    words = (
        f"{len(test)} photos of {arguments.photos.name}, zoo {arguments.zoo}, {arguments.rounds} rounds; wall time of "
        "a whole prediction, with reading, decoding and framing, of that by all backbones in the same round. "
        "*Promised*: the share of MACs or of milliseconds that the photos spent, by the budget's unit."
    )
    keep(arguments.output, "What asking fewer backbones saves", {"rows": rows}, words + "\n\n" + table(head, rows))


def fitted(train: list[str], labels: list[str], zoo: str, unit: str) -> ManyEyesClassifier:
    model = ManyEyesClassifier(zoo=zoo, accept_undeclared_licence=True, budget=1.0, budget_unit="share")
    if unit == "ms":
        model.set_params(budget=1e6, budget_unit="ms")
    return model.fit(train, labels)


def looked_at(model: ManyEyesClassifier, paths: list[str]) -> float:
    """Seconds of a prediction of photos that nobody has looked at."""
    kept = model.features
    with tempfile.TemporaryDirectory() as folder:
        model.features = folder
        start = time.perf_counter()
        model.predict_proba(paths)
        taken = time.perf_counter() - start
    model.features = kept
    return taken


def macs_of(model: ManyEyesClassifier) -> dict[str, float]:
    return {card.name: float(card.macs or 0) for card in model.cards_}


def share(model, asked, costs: dict[str, float]) -> float:
    spent = [sum(costs[turn.backbone] for turn in way.turns) for way in asked.ways]
    return float(np.mean(spent) / sum(costs.values()))


if __name__ == "__main__":
    main()
