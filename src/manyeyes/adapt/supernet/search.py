"""Search paths that are good and cheap: NSGA-II (Deb et al., 2002) over the genes, by pymoo.

What a path comes to is judged once, and kept as soon as it is known. The same seed asks for the same paths, so a search
that was stopped runs through what it knows and goes on there.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

import numpy as np

from manyeyes.adapt.supernet.space import Path, PathSpace
from manyeyes.errors import AdaptError, MissingExtraError
from manyeyes.progress import counting
from manyeyes.writing import written_whole

POPULATION, GENERATIONS = 24, 10


@dataclass(frozen=True)
class Candidate:
    """A path that was judged. loss, accuracy : on the photos to judge by. macs : multiply-accumulates for one photo."""

    path: Path
    loss: float
    accuracy: float
    macs: int


# How good a path is: its loss and accuracy.
Judge = Callable[[Path], tuple[float, float]]


def search(
    space: PathSpace,
    judge: Judge,
    macs: Callable[[Path], int],
    population: int = POPULATION,
    generations: int = GENERATIONS,
    seed: int = 0,
    kept: File | None = None,
) -> list[Candidate]:
    """All candidates, in the order in which they were judged; the full and the smallest path are among them.

    ``kept`` : a file for what is known by now. Raises MissingExtraError, and AdaptError for a file of another search.
    """
    known = _read(kept, space) if kept else {}

    def candidate(path: Path) -> Candidate:
        if path not in known:
            loss, accuracy = judge(path)
            known[path] = Candidate(path, loss, accuracy, macs(path))
            if kept:
                _write(kept, list(known.values()))
        return known[path]

    algorithm = _nsga2(space, population, generations, seed)
    asked: dict[Path, Candidate] = {}
    with counting("searching", population * generations, "paths") as advance:
        while algorithm.has_next():
            children = algorithm.ask()
            for child in children:
                one = candidate(space.check([int(number) for number in child.X]))
                asked[one.path] = one
                child.set("F", np.array([one.loss, one.macs], dtype=float))
                child.evaluated.update(["F"])
                advance(1)
            algorithm.tell(infills=children)
    return list(asked.values())


def pareto_front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those to which no other is both as good and as cheap, and in one of these better; from the cheapest on."""
    front: list[Candidate] = []
    for one in sorted(candidates, key=lambda one: (one.macs, one.loss)):
        if not front or one.loss < front[-1].loss:
            front.append(one)
    return front


def within(candidates: Sequence[Candidate], macs: float) -> Candidate:
    """The best that costs no more than so many MACs. Raises AdaptError when none does."""
    cheap = [one for one in candidates if one.macs <= macs]
    if not cheap:
        least = min(one.macs for one in candidates)
        raise AdaptError(f"no path takes {macs / 1e6:.1f} million MACs or fewer: the smallest takes {least / 1e6:.1f}")
    return min(cheap, key=lambda one: (one.loss, one.macs))


def _nsga2(space: PathSpace, population: int, generations: int, seed: int) -> Any:
    try:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.mutation import Mutation
        from pymoo.core.problem import Problem
        from pymoo.operators.crossover.ux import UniformCrossover
    except ImportError:
        raise MissingExtraError("a search wants pymoo: pip install 'manyeyes[search]'") from None

    class OtherGenes(Mutation):  # type: ignore[misc]
        """Each gene anew at a rate of one a path on the mean, as in MSuNAS and others."""

        def _do(self, problem: Any, X: Any, random_state: Any = None, **others: Any) -> Any:
            rate = 1 / len(space.genes)
            return np.array([space.mutate(tuple(row), random_state, rate) for row in X.astype(int).tolist()])

    random = np.random.default_rng(seed)
    first = [space.full, space.smallest, *(space.sample(random) for _ in range(population - 2))]
    problem = Problem(n_var=len(space.genes), n_obj=2, xl=np.array(space.full), xu=np.array(space.smallest), vtype=int)
    algorithm = NSGA2(
        population,
        sampling=np.array(first),
        crossover=UniformCrossover(),
        mutation=OtherGenes(),
        eliminate_duplicates=True,
    )
    algorithm.setup(problem, termination=("n_gen", generations), seed=seed, verbose=False)
    return algorithm


def _write(kept: File, candidates: Sequence[Candidate]) -> None:
    rows = [[list(one.path), one.loss, one.accuracy, one.macs] for one in candidates]
    try:
        with written_whole(kept) as hidden:
            hidden.write_text(json.dumps(rows), encoding="utf-8")
    except OSError as error:
        raise AdaptError(f"what the search knows cannot be written to {kept}: {error.strerror}") from None


def _read(kept: File, space: PathSpace) -> dict[Path, Candidate]:
    if not kept.exists():
        return {}
    try:
        rows = json.loads(kept.read_text(encoding="utf-8"))
        found = [Candidate(space.check(path), float(loss), float(right), int(macs)) for path, loss, right, macs in rows]
    except (OSError, ValueError, TypeError, AdaptError) as error:
        raise AdaptError(f"{kept} is of another search: delete it to begin anew ({error})") from None
    return {one.path: one for one in found}
