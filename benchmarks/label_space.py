"""Word vectors, random vectors or no label space at all, frozen and trained; writes a page.

    python benchmarks/label_space.py PHOTOS --zoo mirror --words glove-50d --seeds 3 -o docs/results/label_space_NAME.md

2-fold stratified cross-validation. Every label space is set against the mixture without one that is trained in the same
way, on the same photos. The page holds the command that made it.
"""

import argparse
import platform
from pathlib import Path

import numpy as np
from record import command

from manyeyes import __version__
from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.zoo import read_zoo
from manyeyes.features.extract import extract
from manyeyes.images import read_photos
from manyeyes.label_space.vectors import label_vectors
from manyeyes.progress import counting
from manyeyes.study.compare import compare, cross_validation
from manyeyes.study.methods import Kind, Method
from manyeyes.study.outcomes import Outcomes, Result
from manyeyes.study.statistics import paired_tests

NONE, RANDOM = "none", "random"


def main() -> None:
    arguments = parse()
    for words in arguments.words:
        label_vectors(words, 0)  # fetched before anything else is waited for
    cards = read_zoo(arguments.zoo)
    accepted = arguments.accept_undeclared_licence
    backbones = [Backbone.load(card, accepted, precision=arguments.precision) for card in cards]
    photos = read_photos(arguments.photos)
    seen = extract(photos.paths, backbones)
    photos = photos.select(seen.is_good)
    labels = np.array(photos.labels)
    methods = chosen(arguments.gates, arguments.trainings, arguments.words)
    splits = cross_validation(labels, 2, range(arguments.seeds), seen.together(photos.groups))
    with counting("comparing", len(methods) * len(splits), "methods") as advance:
        outcomes = compare(
            methods, seen.table, labels, splits, seen.together(photos.groups), done=lambda name: advance(1)
        )
    heads = f"{len(seen.table.source_labels)} of {len(cards)} backbones have a source head"
    title = f"{arguments.photos.name}: {len(photos):,} photos, {len(photos.classes)} classes, zoo {arguments.zoo}"
    text = page(outcomes, f"Label spaces on {title}", heads)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(text, encoding="utf-8")
    print(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--zoo", default="lite")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--words", nargs="+", default=["glove-50d"], help="Word vectors: names, or files.")
    parser.add_argument("--gates", nargs="+", default=["uniform", "embedding"])
    parser.add_argument("--trainings", nargs="+", default=["staged", "joint"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--accept-undeclared-licence", action="store_true")
    parser.add_argument("-o", "--output", type=Path, required=True)
    return parser.parse_args()


def chosen(gates: list[str], trainings: list[str], words: list[str]) -> list[Method]:
    """Every gate and training, without a label space and with each, frozen and (where that can be) trained."""
    methods = []
    for gate in gates:
        for training in trainings:
            common = {"gate": gate, "training": training}
            methods.append(mixture(reference(gate, training), **common))
            for space in (RANDOM, *words):
                for trains in (False, True)[: 1 if training == "staged" else 2]:
                    name = f"{gate} gate, {training}: {Path(space).name}, {'trained' if trains else 'frozen'}"
                    methods.append(mixture(name, label_space=space, train_label_space=trains, **common))
    return methods


def mixture(name: str, **settings: object) -> Method:
    return Method(name, Kind.MIXTURE, fusion="mixture", settings=settings)


def reference(gate: str, training: str) -> str:
    return f"{gate} gate, {training}: {NONE}"


def page(outcomes: Outcomes, title: str, heads: str) -> str:
    results = {one.method.name: one for one in outcomes.results()}
    names = outcomes.names()
    references = [name for name in names if name.endswith(f": {NONE}")]
    tests = {(test.method, test.reference): test for test in paired_tests(outcomes, references)}
    lines = [
        f"# {title}",
        "",
        f"2-fold stratified cross-validation (half to train, half to judge), seeds {outcomes.seeds}: mean ± "
        "standard deviation over the folds. Differences are in points of accuracy to the same mixture without a label "
        "space, fold by fold, with the 95% interval of a bootstrap over photos and the p of a sign test. "
        f"{heads[0].upper()}{heads[1:]}; the others take part without a label space.",
        "",
        "| mixture | accuracy % | log loss | calibration error % | difference | 95% interval | p | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        one, base = results[name], name.partition(": ")[0] + f": {NONE}"
        against = ["", "", ""]
        if name != base:
            test = tests[name, base]
            gains = accuracies(results[name]) - accuracies(results[base])
            against = [
                f"{gains.mean():+.2f} ± {gains.std():.2f}",
                f"[{100 * test.low:+.2f}, {100 * test.high:+.2f}]",
                f"{test.p_value:.3f}",
            ]
        lines.append(
            f"| {name} | {100 * one.mean('accuracy'):.2f} ± {100 * one.spread('accuracy'):.2f} "
            f"| {one.mean('log_loss'):.4f} | {100 * one.mean('calibration_error'):.1f} | {' | '.join(against)} "
            f"| {one.seconds:.1f} |"
        )
    versions = f"manyeyes {__version__}, Python {platform.python_version()}, {platform.machine()}"
    notes = [
        *(f"{name} failed: {why}." for name, why in outcomes.failures.items()),
        "Seconds are those of one fit; experts that several mixtures share are fitted, and counted, with the first.",
        f"Made by `{command()}` with {versions}.",
    ]
    return "\n".join([*lines, "", *notes, ""])


def accuracies(result: Result) -> np.ndarray:
    return 100 * np.array([scores.accuracy for scores in result.scores])


if __name__ == "__main__":
    main()
