"""What norms on a path go by: accuracy of paths through a network that nothing was trained of, in three ways.

    python benchmarks/path_norms.py FLOWERS17 --seeds 3 -o docs/results/path_norms.md

A softmax regression is fitted on the full path's features, and judges features of smaller paths.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from architecture_problems import by_class
from paired import spread
from record import keep, table

from manyeyes.adapt.adapting import Course, open_bank
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.supernet.judging import LOOKED_AT, PathJudge
from manyeyes.adapt.supernet.space import Path as NetPath
from manyeyes.adapt.supernet.statistics import batch_norms
from manyeyes.adapt.supernet.supernet import Supernet
from manyeyes.adapt.tasks.classification import CLASSIFICATION
from manyeyes.adapt.training.start import fit_head
from manyeyes.adapt.training.task import score
from manyeyes.backbones.zoo import read_zoo

PATHS, FROM, TO = 10, 0.4, 0.65
# Photos of each class for the head and the norms, to judge by, and of no use.
COUNTS = (10, 25, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--backbones", default="efficientnet-lite0,mobilenet-v2")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    rows, figures = [], []
    for name in arguments.backbones.split(","):
        runs = [run(name, seed, arguments) for seed in range(arguments.seeds)]
        rows.append([name, *(spread([one[way] for one in runs]) for way in runs[0])])
        figures += [{"backbone": name} | one for one in runs]
        print(*rows[-1], sep=" | ", flush=True)
    text = (
        f"{arguments.photos.name} at {arguments.size} pixels: a head on {COUNTS[0]} photos of each class, {COUNTS[1]} "
        f"to judge by; {PATHS} random paths of {FROM:g} to {TO:g} of the MACs, mean ± standard deviation over "
        f"{arguments.seeds} draws. Norms go by the statistics that the network came with; by such as are taken anew "
        f"on the path, of {LOOKED_AT} photos; or are matched to the full path's (`statistics.py`). Accuracy in %.\n\n"
        + table(["", "full path", "as they came", "taken anew", "matched"], rows)
    )
    keep(arguments.output, "Norms of a path", {"runs": figures}, text)


def run(name: str, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    bank, card = open_bank(read_zoo(name)[0], arguments.size)
    random = np.random.default_rng(seed)
    course = by_class(
        "photos", arguments.photos, str, COUNTS, card.preprocessing, random, lambda _: CLASSIFICATION
    ).course
    bank.put_new(course.name, course.photos.classes, Plan("norms"))
    fit_head(bank, course.name, course.photos, course.train)
    supernet = Supernet(bank, course.name)
    judge, paths = PathJudge(supernet, course), some_paths(supernet, random)

    def accuracy(on: Callable) -> float:
        found = []
        for path in paths:
            with on(path):
                found.append(score(bank, course.name, course.photos, course.held).accuracy)
        return float(np.mean(found))

    return {
        "full": judge.score(supernet.space.full).accuracy,
        "as they came": accuracy(supernet.on),
        "taken anew": accuracy(lambda path: taken_anew(supernet, course, path)),
        "matched": accuracy(judge.on),
    }


def some_paths(supernet: Supernet, random: np.random.Generator) -> list[NetPath]:
    """Random ones that go to the end."""
    most, found = supernet.cost(supernet.space.full).macs, []
    while len(found) < PATHS:
        path = supernet.space.sample(random)
        if supernet.dimension(path) == supernet.bank.dimension and FROM <= supernet.cost(path).macs / most <= TO:
            found.append(path)
    return found


@contextmanager
def taken_anew(supernet: Supernet, course: Course, path: NetPath) -> Iterator[None]:
    """On a path, norms by what they are given there, as in SPOS and others."""
    bank, rows = supernet.bank.eval(), np.random.default_rng(0).permutation(course.train)[:LOOKED_AT]
    with supernet.on(path):
        norms = batch_norms(bank.network).values()
        kept = [dict(norm._buffers) for norm in norms]
        for norm in norms:
            norm._buffers |= {key: None if one is None else one.clone() for key, one in norm._buffers.items()}
            norm.reset_running_stats()
            norm.momentum, norm.training = None, True
        with torch.no_grad():
            bank.features(course.photos.centres(rows))
        for norm in norms:
            norm.training = False
        yield
        for norm, buffers in zip(norms, kept, strict=True):
            norm._buffers.update(buffers)


if __name__ == "__main__":
    main()
