"""Greedy selection of backbones by evidence, against all sets of backbones; writes a page.

    python benchmarks/evidence.py PHOTOS ... --zoo mirror --counts 100 200 --seeds 3 -o docs/results/evidence.md

With 11 backbones there are 2,047 sets, so this is for few photos. The page holds the command that made it.
"""

import argparse
import platform
import time
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from record import command
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from manyeyes import __version__
from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.zoo import read_zoo
from manyeyes.features.extract import extract
from manyeyes.fusion.bayesian_linear import BayesianLinear
from manyeyes.fusion.evidence import LEAST_GAIN, Evidence, one_against_rest, select_by_evidence, unit_rows
from manyeyes.images import read_photos


@dataclass(frozen=True)
class Trial:
    """Sets as the greedy and the exhaustive search found them on some photos, and how right they are on the others."""

    photos: str
    count: int
    greedy: tuple[str, ...]
    best: tuple[str, ...]
    gap: float  # nats a photo and class
    place: int  # of the greedy set among all sets
    seconds: tuple[float, float]
    accuracy: tuple[float, float, float, float]  # best single, greedy, best, all


def main() -> None:
    arguments = parse()
    trials, backbones = [], 0
    with threadpool_limits(1, "blas"):
        for photos in arguments.photos:
            blocks, labels = look(photos, arguments)
            backbones = len(blocks)
            for count in arguments.counts:
                for seed in range(arguments.seeds):
                    trials.append(attempt(photos.name, blocks, labels, count, seed))
                    print(trials[-1], flush=True)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(page(trials, backbones, arguments.zoo), encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--zoo", default="lite")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 200])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--accept-undeclared-licence", action="store_true")
    parser.add_argument("-o", "--output", type=Path, required=True)
    return parser.parse_args()


def look(folder: Path, arguments: argparse.Namespace) -> tuple[dict[str, np.ndarray], np.ndarray]:
    cards = read_zoo(arguments.zoo)
    backbones = [
        Backbone.load(card, arguments.accept_undeclared_licence, precision=arguments.precision) for card in cards
    ]
    photos = read_photos(folder)
    seen = extract(photos.paths, backbones)
    return seen.table.blocks, np.unique(np.array(photos.labels)[seen.is_good], return_inverse=True)[1]


def attempt(photos: str, blocks: dict[str, np.ndarray], labels: np.ndarray, count: int, seed: int) -> Trial:
    train, test = train_test_split(np.arange(len(labels)), train_size=count, stratify=labels, random_state=seed)
    few = {name: block[train] for name, block in blocks.items()}

    start = time.perf_counter()
    greedy = tuple(sorted(step.block for step in select_by_evidence(few, labels[train])))
    after_greedy = time.perf_counter()
    evidence = Evidence(few, labels[train])
    sets = [names for size in range(1, len(blocks) + 1) for names in combinations(sorted(blocks), size)]
    of = {names: evidence.of(names) for names in sets}
    seconds = after_greedy - start, time.perf_counter() - after_greedy

    best = max(of, key=of.__getitem__)
    single = max(sets[: len(blocks)], key=of.__getitem__)
    return Trial(
        photos=photos,
        count=count,
        greedy=greedy,
        best=best,
        gap=of[best] - of[greedy],
        place=1 + sum(other > of[greedy] for other in of.values()),
        seconds=seconds,
        accuracy=tuple(accuracy(blocks, names, labels, train, test) for names in (single, greedy, best, sets[-1])),
    )


def accuracy(blocks, names, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Of the Bayesian linear model of these blocks on photos that it has not seen, in percent."""
    rows = np.concatenate([unit_rows(blocks[name]) for name in names], axis=1)
    model = BayesianLinear(rows[train], one_against_rest(labels[train]), np.ones(len(train)), None)
    predicted = (rows[test] @ model.coef + model.intercept).argmax(axis=1)
    return 100 * float((predicted == labels[test]).mean())


def page(trials: list[Trial], backbones: int, zoo: str) -> str:
    same = sum(trial.greedy == trial.best for trial in trials)
    lines = [
        "# Greedy selection of backbones by evidence, against every set",
        "",
        f"The {backbones} backbones of zoo {zoo} have {2**backbones - 1:,} sets. Each row draws so many photos "
        "(stratified), selects backbones on them by greedy search and by trying every set, fits the Bayesian linear "
        "model to them, and judges it on all other photos. The gap is how much more evidence the best set has, in nats "
        f"a photo and class (greedy search stops at gains below {LEAST_GAIN:g}).",
        "",
        f"**The greedy set was the best of all in {same} of {len(trials)} draws**, and never lower than place "
        f"{max(trial.place for trial in trials)} of {2**backbones - 1:,}; the largest gap was "
        f"{max(trial.gap for trial in trials):.4f}. It took {np.mean([one.seconds[0] for one in trials]):.2f} s, "
        f"all sets {np.mean([one.seconds[1] for one in trials]):.1f} s on one core.",
        "",
        "| photos | drawn | backbones in greedy set | in best set | in only one of them | place | gap "
        "| accuracy %: best single | greedy | best set | all |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in trials:
        apart = ", ".join(sorted(set(one.greedy) ^ set(one.best))) or "none"
        accuracies = " | ".join(f"{value:.2f}" for value in one.accuracy)
        lines.append(
            f"| {one.photos} | {one.count} | {len(one.greedy)} | {len(one.best)} | {apart} | {one.place} "
            f"| {one.gap:.4f} | {accuracies} |"
        )
    means = " | ".join(f"{value:.2f}" for value in np.mean([one.accuracy for one in trials], axis=0))
    lines.append(f"| mean | | | | | | {np.mean([one.gap for one in trials]):.4f} | {means} |")
    versions = f"manyeyes {__version__}, Python {platform.python_version()}, {platform.machine()}"
    return "\n".join([*lines, "", f"Made by `{command()}` with {versions}.", ""])


if __name__ == "__main__":
    main()
