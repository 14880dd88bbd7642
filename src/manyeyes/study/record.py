"""A study as data: ``results.json`` with every method on every split, ``answers.npz`` with every photo beside."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from manyeyes.backbones.card import Card
from manyeyes.study.agreement import accuracy_where, classes_won, disagreement, kappas, rescue
from manyeyes.study.folder import ANSWERS, FORMAT, VERSION, read_results
from manyeyes.study.methods import Kind, Method
from manyeyes.study.outcomes import Answers, Outcomes, Result, Shares, Split, Trial
from manyeyes.study.statistics import PairedTest
from manyeyes.version import __version__

LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch")


@dataclass(frozen=True)
class Facts:
    """What a study is of, and what made it.

    name : of the photos. zoo, cards, weights, precision : who looked at them; weights are sha256 by card.
    folds, seeds, per_class : of the cross-validation; the last is how many photos a class were trained on at most, or
    None. rejected : photos that could not be read. notes : on where the photos came
    from. command : that made it. seconds : wall time of all methods on all splits. processes : how many side by side.
    """

    name: str
    zoo: str
    cards: tuple[Card, ...]
    weights: Mapping[str, str]
    precision: str
    folds: int
    seeds: int
    per_class: int | None
    rejected: int
    notes: tuple[str, ...]
    command: str
    seconds: float
    processes: int


def results_record(
    outcomes: Outcomes, tests: Sequence[PairedTest], backbones: Sequence[str], facts: Facts
) -> dict[str, Any]:
    """All of ``results.json``; ``backbones`` are the methods that the figures on agreement compare."""
    counts = np.bincount(outcomes.labels, minlength=len(outcomes.classes))
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": facts.name,
        "command": facts.command,
        "versions": versions(),
        "photos": len(outcomes.labels),
        "rejected": facts.rejected,
        "notes": list(facts.notes),
        "classes": dict(zip(outcomes.classes, counts.tolist(), strict=True)),
        "zoo": facts.zoo,
        "backbones": [
            {"name": card.name, "source": card.source, "weights": facts.weights[card.name]} for card in facts.cards
        ],
        "precision": facts.precision,
        "folds": facts.folds,
        "seeds": facts.seeds,
        "per_class": facts.per_class,
        "seconds": facts.seconds,
        "processes": facts.processes,
        "methods": [_method_record(outcomes, one) for one in outcomes.results()],
        "paired_tests": [asdict(test) for test in tests],
        "agreement": _agreement_record(outcomes, backbones) if len(backbones) > 1 else None,
    }


def versions() -> dict[str, str]:
    libraries = {name: version(name) for name in LIBRARIES}
    return {"manyeyes": __version__, "python": platform.python_version(), **libraries, "machine": platform.machine()}


def _method_record(outcomes: Outcomes, result: Result) -> dict[str, Any]:
    splits = [
        {"seed": trial.split.seed, "fold": trial.split.fold, "train": len(trial.split.train), **asdict(scores)}
        | {"seconds": trial.answers[result.method.name].seconds}
        for trial, scores in zip(outcomes.trials, result.scores, strict=False)
    ]
    return {**asdict(result.method), "kind": result.method.kind.value, "failure": result.failure, "splits": splits}


def _agreement_record(outcomes: Outcomes, backbones: Sequence[str]) -> dict[str, Any]:
    found = rescue(outcomes, backbones)
    where = disagreement(outcomes, backbones)
    told = {name: outcomes.mean_shares(name) for name in outcomes.names()}
    return {
        "methods": list(backbones),
        "kappa": kappas(outcomes, backbones).tolist(),
        "right_at_once": found.shares.tolist(),
        "best": found.best,
        "errors_of_the_best": found.errors,
        "errors_of_all": found.all_wrong,
        "classes_won": {name: asdict(wins) for name, wins in classes_won(outcomes, backbones).items()},
        "disagree_on": int(where.sum()) / int(outcomes.judged.sum()),
        "accuracy_where_they_disagree": {
            name: accuracy_where(outcomes, name, where) for name in outcomes.names() if where.any()
        },
        "mean_shares": {
            name: {
                "of": list(shares[0]),
                "by_class": [None if np.isnan(row).any() else row.tolist() for row in shares[1]],
            }
            for name, shares in told.items()
            if shares is not None
        },
    }


def save_answers(outcomes: Outcomes, path: Path) -> None:
    """Write what every method said of every photo, as plain arrays."""
    arrays: dict[str, Any] = {"labels": outcomes.labels}
    if outcomes.groups is not None:
        arrays["groups"] = outcomes.groups
    for t, trial in enumerate(outcomes.trials):
        arrays[f"{t}-split"] = np.array([trial.split.seed, trial.split.fold])
        arrays[f"{t}-train"], arrays[f"{t}-test"] = trial.split.train, trial.split.test
        for m, method in enumerate(outcomes.methods):
            if (one := trial.answers.get(method.name)) is None:
                arrays[f"{t}-{m}-failure"] = np.array(trial.failures[method.name])
                continue
            arrays[f"{t}-{m}-predicted"] = one.predicted.astype(np.int32)
            arrays[f"{t}-{m}-of_truth"] = one.of_truth.astype(np.float32)
            arrays[f"{t}-{m}-confidence"] = one.confidence.astype(np.float32)
            arrays[f"{t}-{m}-seconds"] = np.array(one.seconds)
            if one.shares is not None:
                arrays[f"{t}-{m}-of"] = np.array(one.shares.names)
                arrays[f"{t}-{m}-shares"] = one.shares.values.astype(np.float32)
    np.savez_compressed(path, **arrays)


def load_outcomes(folder: Path) -> Outcomes:
    """A study's outcomes from its folder, to draw or test anew without fitting anything. Raises StudyError."""
    results = read_results(folder)
    methods = tuple(
        Method(**{key: one[key] for key in Method.__dataclass_fields__} | {"kind": Kind(one["kind"])})
        for one in results["methods"]
    )
    with np.load(folder / ANSWERS, allow_pickle=False) as arrays:
        count = sum(name.endswith("-split") for name in arrays)
        trials = tuple(_load_trial(arrays, t, methods) for t in range(count))
        return Outcomes(tuple(results["classes"]), arrays["labels"], methods, trials, arrays.get("groups"))


def _load_trial(arrays: Any, t: int, methods: Sequence[Method]) -> Trial:
    answers, failures = {}, {}
    for m, method in enumerate(methods):
        if f"{t}-{m}-failure" in arrays:
            failures[method.name] = str(arrays[f"{t}-{m}-failure"])
            continue
        shares = None
        if f"{t}-{m}-of" in arrays:
            shares = Shares(tuple(arrays[f"{t}-{m}-of"].tolist()), arrays[f"{t}-{m}-shares"].astype(np.float64))
        answers[method.name] = Answers(
            predicted=arrays[f"{t}-{m}-predicted"].astype(np.int64),
            of_truth=arrays[f"{t}-{m}-of_truth"].astype(np.float64),
            confidence=arrays[f"{t}-{m}-confidence"].astype(np.float64),
            seconds=float(arrays[f"{t}-{m}-seconds"]),
            shares=shares,
        )
    seed, fold = arrays[f"{t}-split"].tolist()
    return Trial(Split(seed, fold, arrays[f"{t}-train"], arrays[f"{t}-test"]), answers, failures)
