"""Accuracy of every method on folders of photos, 2-fold cross-validated over several seeds; writes a page and a figure.

    python benchmarks/accuracy.py PHOTOS --zoo mirror --seeds 3 -o docs/results/NAME.md

The page holds the command that made it. The figure lies beside it, as SVG.
"""

import argparse
import platform
import shlex
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

from manyeyes import ManyEyesClassifier, __version__
from manyeyes.images import read_photos
from manyeyes.progress import counting
from manyeyes.study.compare import BOUND, GATE, RIVAL, SINGLE, Comparison, Result

COLOURS = {SINGLE: "#8a8f98", RIVAL: "#2b6cb0", GATE: "#c05621", BOUND: "#2f855a"}
REFERENCE = "concat + RBF kernel ridge"


def main() -> None:
    arguments = parse()
    photos = read_photos(arguments.photos)
    model = ManyEyesClassifier(arguments.zoo, accept_undeclared_licence=arguments.accept_undeclared_licence)
    seen = model.look(photos.paths)
    photos = photos.select(seen.is_good)
    results = run(seen.table, np.array(photos.labels), arguments.seeds)
    title = f"{arguments.photos.name}: {len(photos):,} photos, {len(photos.classes)} classes, zoo {arguments.zoo}"
    figure = arguments.output.with_suffix(".svg")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    draw(results, title, figure)
    arguments.output.write_text(page(results, title, figure.name, arguments.seeds), encoding="utf-8")
    print(page(results, title, figure.name, arguments.seeds))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--zoo", default="lite")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--accept-undeclared-licence", action="store_true")
    parser.add_argument("-o", "--output", type=Path, required=True)
    return parser.parse_args()


def run(table, labels, seeds: int) -> list[Result]:
    """One result a method, with the scores of all folds and seeds."""
    total = seeds * 2 * Comparison().steps(table)
    with counting("comparing", total, "methods") as advance:
        rounds = [
            Comparison(random_state=seed).cross_validate(table, labels, 2, done=lambda name: advance(1))
            for seed in range(seeds)
        ]
    return [
        Result(same[0].method, same[0].kind, tuple(scores for one in same for scores in one.scores))
        for same in zip(*rounds, strict=True)
    ]


def page(results: list[Result], title: str, figure: str, seeds: int) -> str:
    reference = accuracies(next(one for one in results if one.method == REFERENCE))
    lines = [
        f"# {title}",
        "",
        f"2-fold stratified cross-validation (half to train, half to judge), {seeds} seeds: mean ± standard deviation "
        f"over the {2 * seeds} folds. The last column is the difference in accuracy to {REFERENCE}, fold by fold.",
        "",
        f"![accuracy of every method]({figure})",
        "",
        f"| method | accuracy % | macro F1 % | log loss | calibration error % | against {REFERENCE} |",
        "|---|---|---|---|---|---|",
    ]
    for one in results:
        difference = accuracies(one) - reference
        wins = (difference > 0).sum()
        against = f"{difference.mean():+.2f} ± {difference.std():.2f}, better in {wins} of {len(difference)}"
        lines.append(
            f"| {one.method} | {100 * one.mean('accuracy'):.2f} ± {100 * one.spread('accuracy'):.2f} "
            f"| {100 * one.mean('macro_f1'):.2f} | {one.mean('log_loss'):.3f} "
            f"| {100 * one.mean('calibration_error'):.1f} | {'' if one.method == REFERENCE else against} |"
        )
    command = shlex.join(["python", *(Path(word).name if Path(word).is_absolute() else word for word in sys.argv)])
    versions = f"manyeyes {__version__}, Python {platform.python_version()}, {platform.machine()}"
    return "\n".join([*lines, "", f"Made by `{command}` with {versions}.", ""])


def accuracies(result: Result) -> np.ndarray:
    return 100 * np.array([scores.accuracy for scores in result.scores])


def draw(results: list[Result], title: str, path: Path) -> None:
    """A dot for each fold and a tick for the mean, best at the top of each kind."""
    ordered = [one for kind in (SINGLE, RIVAL, GATE, BOUND) for one in by_accuracy(results, kind)]
    height = 1.3 + 0.27 * len(ordered)
    figure, axes = plt.subplots(figsize=(8, height), layout="constrained")
    for row, one in enumerate(ordered):
        colour = COLOURS[one.kind]
        values = accuracies(one)
        axes.plot(values, np.full(len(values), row), "o", color=colour, alpha=0.35, markersize=5, markeredgewidth=0)
        axes.plot([values.mean()] * 2, [row - 0.32, row + 0.32], color=colour, linewidth=2.5)
        axes.annotate(
            f"{values.mean():.1f}",
            (1.01, row),
            xycoords=("axes fraction", "data"),
            va="center",
            color=colour,
            fontsize=9,
        )
    axes.set_yticks(range(len(ordered)), [one.method for one in ordered], fontsize=9)
    for label, one in zip(axes.get_yticklabels(), ordered, strict=True):
        label.set_color(COLOURS[one.kind])
    axes.set_xlabel("accuracy %")
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(axis="x", color="#e2e8f0")
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.margins(y=0.03)
    plt.rcParams["svg.hashsalt"] = "manyeyes"  # the same results draw the same bytes
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def by_accuracy(results: list[Result], kind: str) -> list[Result]:
    return sorted((one for one in results if one.kind == kind), key=lambda one: one.mean("accuracy"))


if __name__ == "__main__":
    main()
