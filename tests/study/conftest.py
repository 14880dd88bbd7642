"""A small study, and outcomes made by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from manyeyes.features.table import FeatureTable
from manyeyes.study.methods import Kind, Method, all_methods, choose
from manyeyes.study.outcomes import Answers, Outcomes, Shares, Split, Trial

ROWS = 48
BACKBONES = ("first", "second")

Labels = npt.NDArray[np.str_]
# What a method said of every photo, for each seed, in the order of the photos.
Said = Sequence[Sequence[int]]


@pytest.fixture(scope="session")
def photos() -> tuple[FeatureTable, Labels]:
    """Two blocks that each tell one of three classes from the others, and one photo of a fourth class."""
    rng = np.random.default_rng(0)
    labels = np.arange(ROWS) % 3
    labels[-1] = 3
    blocks = {
        name: (np.eye(4)[labels][:, [k, 3]] @ rng.normal(size=(2, 5)) * 2 + rng.normal(size=(ROWS, 5))).astype("f4")
        for k, name in enumerate(BACKBONES)
    }
    thumbnails = rng.integers(0, 256, (ROWS, 64, 64, 3), np.uint8)
    return FeatureTable(blocks, thumbnails), np.array(["cat", "dog", "owl", "yak"])[labels]


@pytest.fixture(scope="session")
def methods() -> tuple[Method, ...]:
    """A method or two of every kind."""
    wanted = "*+softmax,*+kernel-ridge,stacking,mixture-uniform,mixture-embedding,best-single,auto,oracle"
    return choose(all_methods(BACKBONES), wanted.split(","))


def single(backbone: str) -> Method:
    return Method(f"{backbone}+softmax", Kind.SINGLE, backbone=backbone)


def by_hand(
    labels: Sequence[int],
    said: dict[str, Said],
    singles: Sequence[str] = (),
    shares: dict[str, Any] | None = None,
    groups: Sequence[int] | None = None,
    classes: int | None = None,
) -> Outcomes:
    """Outcomes in which each method said just this: two splits a seed, the even photos and the odd ones.

    Names in ``singles`` are backbones alone, ``oracle`` is a bound, all others are mixtures. A photo of which a method
    said -1 was not judged.
    """
    truth = np.array(labels)
    kinds = {name: single(name) for name in singles} | {"oracle": Method("oracle", Kind.BOUND)}
    methods = tuple(kinds.get(name, Method(name, Kind.MIXTURE)) for name in said)
    trials = []
    for seed in range(len(next(iter(said.values())))):
        for fold in (0, 1):
            rows = np.arange(fold, len(truth), 2)
            rows = rows[[next(iter(said.values()))[seed][row] >= 0 for row in rows]]
            answers = {
                method.name: _answers(np.array(said[name][seed])[rows], truth[rows], (shares or {}).get(name), rows)
                for method, name in zip(methods, said, strict=True)
            }
            trials.append(Trial(Split(seed, fold, np.arange(1 - fold, len(truth), 2), rows), answers, {}))
    names = tuple("abcdefgh"[: classes or max(labels) + 1])
    return Outcomes(names, truth, methods, tuple(trials), None if groups is None else np.array(groups))


def _answers(predicted: npt.NDArray[np.int64], truth: npt.NDArray[np.int64], shares: Any, rows: Any) -> Answers:
    told = None if shares is None else Shares(tuple(shares[0]), np.array(shares[1], dtype=float)[rows])
    return Answers(predicted, np.where(predicted == truth, -0.1, -3.0), np.full(len(truth), 0.9), 0.5, told)
