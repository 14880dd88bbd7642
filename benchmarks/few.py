"""How `auto` stands where labels are few: accuracy with 5, 10, 20 and all training photos a class, set by set.

    python benchmarks/few.py STUDY… --chosen-on NAME… -o docs/results/few.md

STUDY is a study's folder, made by `manyeyes study --per-class …` or without it. The sets that `auto` was chosen on
stand apart from those that it was not. The page holds the commands that made the studies.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from manyeyes.study.folder import read_results
from manyeyes.study.methods import AUTO, UNIFORM
from manyeyes.study.page import cell

METHODS = ("best-single", UNIFORM, "concat+softmax", "concat+kernel-ridge", AUTO)
RIVAL = "concat+kernel-ridge"
SCORES = {"accuracy": ("accuracy %", 100, 2), "log_loss": ("log loss", 1, 3), "calibration_error": ("ECE %", 100, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--chosen-on", nargs="*", default=[], help="Names of the sets that auto was chosen on.")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    studies = [read_results(path) for path in arguments.studies]
    chosen = [one for one in studies if one["name"] in arguments.chosen_on]
    others = [one for one in studies if one["name"] not in arguments.chosen_on]
    parts = [
        "# Few labels: `auto` beside its rivals",
        "Means over all splits; at most so many training photos a class as the first column says. A set whose half "
        "has no more photos a class than that stands under *all* only. The difference is that of "
        f"*{AUTO}* to *{RIVAL}*, in points with its 95% interval by bootstrap over photos; the p-value is that of a "
        "sign test by photo and does not know that the few training photos are drawn only six times.",
    ]
    for title, some in (("Sets that took no part in choosing it", others), ("Sets that it was chosen on", chosen)):
        if some:
            parts += [f"## {title}", means(some), by_set(some)]
    parts += ["## Commands", "\n".join(f"* `{one['command']}`" for one in studies)]
    text = "\n\n".join(parts) + "\n"
    arguments.output.write_text(text, encoding="utf-8")
    print(text)


def means(studies: list[dict]) -> str:
    """Each method's mean over the sets, for each number of photos a class."""
    lines = ["| photos a class | sets | score | " + " | ".join(METHODS) + " |", "|---" * (3 + len(METHODS)) + "|"]
    for size in sizes(studies):
        these = [one for one in studies if one.get("per_class") == size]
        for score, (title, unit, digits) in SCORES.items():
            values = [unit * np.mean([mean(one, name, score) for one in these]) for name in METHODS]
            cells = [f"{value:.{digits}f}" for value in values]
            lines.append(f"| {size or 'all'} | {len(these)} | {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_set(studies: list[dict]) -> str:
    lines = ["| photos a class | set | " + " | ".join(METHODS) + " | difference |", "|---" * (3 + len(METHODS)) + "|"]
    for size in sizes(studies):
        for one in studies:
            if one.get("per_class") == size:
                cells = [f"{100 * mean(one, name, 'accuracy'):.2f}" for name in METHODS]
                row = [str(size or "all"), cell(one["name"]), *cells, difference(one)]
                lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def sizes(studies: Iterable[dict]) -> list[int | None]:
    return sorted({one.get("per_class") for one in studies}, key=lambda size: size or 10**9)


def mean(study: dict, name: str, score: str) -> float:
    (method,) = (one for one in study["methods"] if one["name"] == name)
    return float(np.mean([split[score] for split in method["splits"]]))


def difference(study: dict) -> str:
    (test,) = (one for one in study["paired_tests"] if (one["method"], one["reference"]) == (AUTO, RIVAL))
    points, low, high = (100 * test[key] for key in ("difference", "low", "high"))
    return f"{points:+.2f} [{low:+.2f}, {high:+.2f}], p = {test['p_value']:.3f}"


if __name__ == "__main__":
    main()
