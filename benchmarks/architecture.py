"""Smaller networks inside of a backbone, on five tasks: found and trained in seven ways, at half of the MACs.

    python benchmarks/architecture.py --flowers F17 --faces UTKFACE --signs GTSRB --photo PACS/photo \\
        --place PACS/sketch --source CALTECH101 --kept FOLDER -o docs/results/architecture.md

FOLDER keeps what is done, so that a run which was stopped goes on. Nothing is chosen by the photos to judge by.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from architecture_page import FULL, INHERITED, SIGNS, principal, text
from architecture_problems import Problem, by_class, problem
from record import keep
from scipy.stats import kendalltau

from manyeyes.adapt.adapting import Course, go_on, open_bank
from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.supernet.architecture import alone, tune
from manyeyes.adapt.supernet.judging import PathJudge
from manyeyes.adapt.supernet.search import Candidate, Judge, search, within
from manyeyes.adapt.supernet.space import Path as NetPath
from manyeyes.adapt.supernet.supernet import Supernet
from manyeyes.adapt.tasks.classification import CLASSIFICATION
from manyeyes.adapt.tasks.objective import Metrics
from manyeyes.adapt.training.recipe import BODY_RATE, Recipe
from manyeyes.backbones.card import Card
from manyeyes.backbones.zoo import read_zoo
from manyeyes.threads import cores, one_thread

TASKS = ("classification", "gender", "age", "re-identification", "domain adaptation")
PLAN, SHARE = Plan("full"), 0.5
POPULATION, GENERATIONS = 16, 4
# Of the source: photos of each class to learn from, and to search by; passes over them.
OF_SOURCE, SOURCE_EPOCHS = (8, 3, 0), 5
# Paths of which it is asked whether the supernet tells their order; their MACs are between these shares.
RANKED, FROM, TO = 12, 0.3, 0.8
# What a random path may take more or less than another.
ABOUT = 0.05
BLIND = "self-supervised"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("flowers", "faces", "signs", "photo", "place", "source"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--backbone", default="mobilenet-v2")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--ranked", default=",".join(TASKS), help="Tasks for which Kendall's tau is wanted.")
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    arguments.kept.mkdir(parents=True, exist_ok=True)
    tasks = arguments.tasks.split(",")
    whole = source_stage(arguments)
    calls = [joblib.delayed(once)(run, task, seed, arguments) for seed in range(arguments.seeds) for task in tasks]
    calls += [joblib.delayed(once)(rank, task, 0, arguments) for task in tasks if task in arguments.ranked.split(",")]
    found: list[dict[str, Any]] = []
    with joblib.parallel_config("loky", n_jobs=cores(), inner_max_num_threads=1):
        for one in joblib.Parallel(return_as="generator_unordered")(calls):
            print(json.dumps({key: value for key, value in one.items() if key != "choices"}), flush=True)
            found.append(one)
    runs, ranks = ([one for one in found if one["what"] == what.__name__] for what in (run, rank))
    keep(
        arguments.output,
        "Architecture adaptation",
        {"source": whole} | {"runs": runs, "ranks": ranks},
        text(runs, ranks, whole, tasks, arguments, SHARE),
    )


def once(what: Callable[..., dict[str, Any]], task: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """What a run comes to, from the folder of what is kept if it is there."""
    file = arguments.kept / f"{what.__name__} {task} {seed}.json"
    if not file.exists():
        with one_thread():
            file.write_text(
                json.dumps({"what": what.__name__, "task": task, "seed": seed} | what(task, seed, arguments))
            )
    return json.loads(file.read_text())


def recipe(epochs: int, seed: int) -> Recipe:
    return Recipe(epochs=epochs, patience=max(epochs, 1), seed=seed).all_at(BODY_RATE)


def source_of(arguments: argparse.Namespace, bank: DomainBank, card: Card) -> tuple[Course, Supernet]:
    """All paths tuned on the source: with labels, as the domain `source` of the bank, and without, as `blind`."""
    random, folder = np.random.default_rng(0), arguments.source
    course = by_class("source", folder, str, OF_SOURCE, card.preprocessing, random, lambda _: CLASSIFICATION).course
    how = recipe(SOURCE_EPOCHS, 0)
    tune(bank, dataclasses.replace(course, name="blind"), PLAN, how, arguments.kept, labelled=False)
    return course, tune(bank, course, PLAN, how, arguments.kept)[0]


def source_stage(arguments: argparse.Namespace) -> dict[str, float]:
    """Done once for all tasks, by all cores: seconds of tuning in both ways, and of the search."""
    file = arguments.kept / "source.json"
    if not file.exists():
        bank, card = open_bank(read_zoo(arguments.backbone)[0], arguments.size)
        start = time.time()
        course, supernet = source_of(arguments, bank, card)
        tuned = time.time()
        searched(supernet, PathJudge(supernet, course).score, arguments, 0, "source")
        file.write_text(json.dumps({"tuned": tuned - start, "searched": time.time() - tuned}))
    return json.loads(file.read_text())


def searched(supernet: Supernet, judge: Judge, arguments: argparse.Namespace, seed: int, kept: str) -> Candidate:
    """The best path within the budget."""
    file = arguments.kept / f"search {kept} {seed}.json"
    found = search(supernet.space, judge, lambda path: supernet.cost(path).macs, POPULATION, GENERATIONS, seed, file)
    return within(found, SHARE * supernet.cost(supernet.space.full).macs)


def run(task: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """All ways on one drawing of a task's photos."""
    bank, card = open_bank(read_zoo(arguments.backbone)[0], arguments.size)
    there, at_source = source_of(arguments, bank, card)
    one = problem(task, vars(arguments), card.preprocessing, seed)
    course, came = one.course, Supernet(bank)
    clock = Clock()
    tuned, _ = tune(bank, course, PLAN, recipe(arguments.epochs, seed), arguments.kept)
    clock.note("tuning")
    best = searched(tuned, PathJudge(tuned, course).score, arguments, seed, task).path
    clock.note("search")
    by_source = searched(at_source, PathJudge(at_source, there).score, arguments, 0, "source").path
    begun, blind = (
        tune(bank, dataclasses.replace(course, name=f"from {name}"), PLAN, recipe(0, seed), source=name)[0]
        for name in ("source", "blind")
    )
    clock.note("heads")
    unseen = searched(blind, PathJudge(blind, course).score_linearly, arguments, seed, f"{task} blind").path
    clock.note("linear search")
    drawn = any_path(came, came.cost(best).macs, seed)
    ways = {
        FULL: (came, came.space.full),
        "random path": (came, drawn),
        "searched on the source": (begun, by_source),
        "searched, reset": (came, best),
        INHERITED: (tuned, best),
        "random path, inherited": (tuned, drawn),
        BLIND: (blind, unseen),
    }
    whole, rows = came.cost(came.space.full), {}
    for name, (supernet, path) in ways.items():
        cost, start = came.cost(path), time.time()
        begins, ends = trained(supernet, path, one, card, arguments.epochs, seed)
        rows[name] = {
            "begins": begins,
            "ends": ends,
            "macs": cost.macs / whole.macs,
            "parameters": cost.parameters / whole.parameters,
            "seconds": time.time() - start,
        }
    choices = {f"{block} {kind}": value for (block, kind), value in came.space.choices(best).items()}
    return {"rows": rows, "seconds": clock.seconds, "choices": choices}


def rank(task: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Whether paths that the supernet thinks better are so, by photos to judge by, when each is trained by itself from
    the weights as they came."""
    bank, card = open_bank(read_zoo(arguments.backbone)[0], arguments.size)
    one = problem(task, vars(arguments), card.preprocessing, seed)
    came = Supernet(bank)
    source_of(arguments, bank, card)
    tuned, _ = tune(bank, one.course, PLAN, recipe(arguments.epochs, seed), arguments.kept)
    judge, pairs = PathJudge(tuned, one.course), []
    for number in range(RANKED):
        share = FROM + (TO - FROM) * number / (RANKED - 1)
        path = any_path(came, share * came.cost(came.space.full).macs, number)
        thought = judge.score(path)
        _, ends = trained(came, path, one, card, arguments.epochs, seed)
        pairs.append({"macs": share, "loss": thought.loss, "thought": thought.metrics, "alone": ends})
    tau = kendalltau(
        [-pair["loss"] for pair in pairs], [SIGNS.get(task, 1) * principal(pair["alone"]) for pair in pairs]
    )
    return {"pairs": pairs, "tau": float(tau.statistic), "p": float(tau.pvalue)}


def any_path(supernet: Supernet, macs: float, seed: int) -> NetPath:
    """Any path to the end that takes about as many MACs."""
    random = np.random.default_rng(seed)
    while True:
        path = supernet.space.sample(random)
        if supernet.dimension(path) == supernet.bank.dimension and abs(supernet.cost(path).macs / macs - 1) < ABOUT:
            return path


def trained(
    supernet: Supernet, path: NetPath, one: Problem, card: Card, epochs: int, seed: int
) -> tuple[Metrics, Metrics]:
    """What a path comes to by itself, before it is trained and after, by the photos to judge by."""
    bank, course = alone(
        supernet, path, dataclasses.replace(one.course, name=supernet.name or one.course.name), card.preprocessing
    )
    before = one.judge(bank, course)
    # The search is over: what was held out for it is trained on as well.
    every = np.union1d(course.train, course.held)
    go_on(bank, [dataclasses.replace(course, train=every, held=course.held[:0])], recipe(epochs, seed))
    return before, one.judge(bank, course)


class Clock:
    """Seconds of the stages of a run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.time()

    def note(self, stage: str) -> None:
        now = time.time()
        self.seconds[stage], self._last = now - self._last, now


if __name__ == "__main__":
    main()
