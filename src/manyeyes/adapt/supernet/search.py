"""Search paths that are good and cheap: NSGA-II (Deb et al., 2002) over the genes, by pymoo.

What a path comes to is judged once, and kept as soon as it is known. The same seed asks for the same paths, so a search
that was stopped runs through what it knows and goes on there.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path as File
from typing import Any

import numpy as np

from manyeyes.adapt.supernet.space import Path, PathSpace
from manyeyes.adapt.tasks.objective import Score
from manyeyes.errors import AdaptError, MissingExtraError
from manyeyes.progress import counting
from manyeyes.writing import written_whole

MISSING = "a search wants pymoo: pip install 'manyeyes[search]'"
# The loss of a path that comes to no number.
LOST = 1e30
POPULATION, GENERATIONS = 24, 10


@dataclass(frozen=True)
class Candidate:
    """A path that was judged. score : on the photos to judge by. macs : multiply-accumulates for one photo."""

    path: Path
    score: Score
    macs: int


# How good a path is.
Judge = Callable[[Path], Score]


def search(
    space: PathSpace,
    judge: Judge,
    macs: Callable[[Path], int],
    population: int = POPULATION,
    generations: int = GENERATIONS,
    seed: int = 0,
    kept: File | None = None,
) -> list[Candidate]:
    """All candidates, in the order in which they were judged; the full path is among them.

    ``kept`` : a file for what is known by now. Raises MissingExtraError, and AdaptError for a file of another search.
    """
    known = _read(kept, space, macs) if kept else {}

    def candidate(path: Path) -> Candidate:
        if path not in known:
            found = judge(path)
            # What is no number is never the best.
            found = found if np.isfinite(found.loss) else Score(LOST, found.metrics)
            known[path] = Candidate(path, found, macs(path))
            if kept:
                _write(kept, list(known.values()))
        return known[path]

    algorithm = _nsga2(space, population, generations, seed)
    asked: dict[Path, Candidate] = {}
    with counting("searching", population * generations, "paths") as advance:
        while algorithm.has_next():
            children = algorithm.ask()
            if children is None:  # no path is left that has not been asked for
                break
            for child in children:
                one = candidate(space.settled(tuple(int(number) for number in child.X)))
                asked[one.path] = one
                child.set("F", np.array([one.score.loss, one.macs], dtype=float))
                child.evaluated.update(["F"])
                advance(1)
            algorithm.tell(infills=children)
    return list(asked.values())


def check_search() -> None:
    """Raise MissingExtraError where nothing can be searched."""
    if find_spec("pymoo") is None:
        raise MissingExtraError(MISSING)


def within(candidates: Sequence[Candidate], macs: float) -> Candidate:
    """The best that costs no more than so many MACs. Raises AdaptError when none does."""
    check_macs(macs, min(one.macs for one in candidates))
    return min((one for one in candidates if one.macs <= macs), key=lambda one: (one.score.loss, one.macs))


def check_macs(macs: float, least: float) -> None:
    """Raise AdaptError for a budget below what the smallest path takes."""
    if macs < least:
        raise AdaptError(f"no path takes {macs / 1e6:.1f} million MACs or fewer: the smallest takes {least / 1e6:.1f}")


def _nsga2(space: PathSpace, population: int, generations: int, seed: int) -> Any:
    try:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.mutation import Mutation
        from pymoo.core.problem import Problem
        from pymoo.operators.crossover.ux import UniformCrossover
    except ImportError:
        raise MissingExtraError(MISSING) from None

    class OtherGenes(Mutation):  # type: ignore[misc]
        """Each gene anew at a rate of one a path on the mean, as in MSuNAS and others."""

        def _do(self, problem: Any, X: Any, random_state: Any = None, **others: Any) -> Any:
            rate = 1 / len(space.genes)
            return np.array([space.mutate(tuple(row), random_state, rate) for row in X.astype(int).tolist()])

    random = np.random.default_rng(seed)
    known = space.landmarks()[:population]
    first = [*known, *(space.sample(random) for _ in range(population - len(known)))]
    last = np.array([len(gene.values) - 1 for gene in space.genes])
    problem = Problem(n_var=len(space.genes), n_obj=2, xl=np.zeros_like(last), xu=last, vtype=int)
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
    rows = [[list(one.path), one.score.loss, one.score.metrics] for one in candidates]
    try:
        with written_whole(kept) as hidden:
            hidden.write_text(json.dumps(rows), encoding="utf-8")
    except OSError as error:
        raise AdaptError(f"what the search knows cannot be written to {kept}: {error.strerror}") from None


def _read(kept: File, space: PathSpace, macs: Callable[[Path], int]) -> dict[Path, Candidate]:
    if not kept.exists():
        return {}
    try:
        rows = json.loads(kept.read_text(encoding="utf-8"))
        scores = {
            space.check(path): Score(float(loss), {name: float(one) for name, one in metrics.items()})
            for path, loss, metrics in rows
        }
    except (OSError, ValueError, TypeError, AttributeError, AdaptError) as error:
        raise AdaptError(f"{kept} is of another search: delete it to begin anew ({error})") from None
    return {path: Candidate(path, found, macs(path)) for path, found in scores.items()}
