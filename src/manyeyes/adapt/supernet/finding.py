"""All stages in a row: paths tuned on photos, the best one searched, and trained by itself."""

import re
from dataclasses import dataclass
from pathlib import Path as File
from typing import Self

from manyeyes.adapt.adapting import Course, go_on
from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.gated_transfer import recipe_for
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.supernet.architecture import alone, tune
from manyeyes.adapt.supernet.judging import PathJudge
from manyeyes.adapt.supernet.search import GENERATIONS, POPULATION, Candidate, check_macs, search, within
from manyeyes.adapt.supernet.space import Path
from manyeyes.adapt.supernet.supernet import Supernet
from manyeyes.adapt.tasks.objective import UNLABELLED, Score
from manyeyes.adapt.training.loop import Training
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.backbones.card import Card
from manyeyes.errors import AdaptError, ChoiceError

# Photos are held out for the search: one in so many.
HELD = 4
_UNITS = {"M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class Budget:
    """What a network may take for one photo: ``number`` of MACs, or, where ``is_share``, of the whole network's."""

    number: float
    is_share: bool = False

    @classmethod
    def read(cls, text: str) -> Self:
        """``0.5x``, or a number such as ``150M`` or ``1.2G``. Raises ChoiceError for anything else.

        >>> Budget.read("0.5x").macs(200e6), Budget.read("150M").macs(200e6)
        (100000000.0, 150000000.0)
        """
        found = re.fullmatch(r"(\d*\.?\d+)([xMG])", text)
        number = float(found[1]) if found else 0.0
        if found is None or not number > 0 or (found[2] == "x" and number > 1):
            raise ChoiceError(
                "a budget is a share of the backbone's MACs up to 1, such as 0.5x, or a number such as 150M or 1.2G, "
                f"not {text!r}"
            )
        return cls(number, True) if found[2] == "x" else cls(number * _UNITS[found[2]])

    def macs(self, whole: float) -> float:
        """For a network that takes ``whole`` MACs."""
        return self.number * whole if self.is_share else self.number


def check_budget(bank: DomainBank, budget: Budget) -> None:
    """Raise AdaptError, before hours of work, when no path through a bank's backbone is within the budget, or nothing
    of it can be left out."""
    supernet = Supernet(bank)
    space = supernet.space
    full, least = (supernet.cost(path).macs for path in (space.full, space.smallest))
    check_macs(budget.macs(full), least)


@dataclass(frozen=True)
class Finding:
    """How a smaller network is found.

    budget : of the chosen path. plan : what is trained while paths are tuned. labelled, source_labelled : whether
    labels are looked at meanwhile, on the target and on a source. linear : whether paths are judged by a ridge
    regression on their features; without labels they are. population, generations, seed : of the search.
    """

    budget: Budget
    plan: Plan = Plan("full")  # noqa: RUF009
    labelled: bool = True
    source_labelled: bool = False
    linear: bool = False
    population: int = POPULATION
    generations: int = GENERATIONS
    seed: int = 0


@dataclass(frozen=True)
class Found:
    """supernet, candidates, chosen : what was searched, all paths that were judged, and the best within the budget.
    bank, course : that path by itself, with the domain that was trained, and photos in its size. card : of the backbone
    that it makes. training : of it."""

    supernet: Supernet
    candidates: list[Candidate]
    chosen: Candidate
    bank: DomainBank
    course: Course
    card: Card
    training: Training


def find_smaller(
    bank: DomainBank,
    card: Card,
    course: Course,
    finding: Finding,
    recipe: Recipe,
    folder: File,
    source: Course | None = None,
    anew: bool = True,
) -> Found:
    """Find the best smaller network for a course, which holds photos out, inside of the bank's backbone, and train it.

    ``card`` is that of the backbone. On a ``source`` all paths are tuned first. What is tuned and known stays in
    ``folder``: another budget wants nothing of it again, and must not with ``anew`` False. Raises AdaptError where it
    would, when no photos are held out, and when no path is within the budget; MissingExtraError.
    """
    if not (course.photos.labels[course.held] != UNLABELLED).any():
        raise AdaptError(f"{course.name} has too few photos to hold some out for the search: add more of each class")
    check_budget(bank, finding.budget)
    if source is not None:
        tune(bank, source, finding.plan, recipe, folder, labelled=finding.source_labelled, anew=anew)
    begins_as = None if source is None else source.name
    supernet, tuning = tune(bank, course, finding.plan, recipe, folder, begins_as, finding.labelled, anew)
    judge = PathJudge(supernet, course)
    is_linear = finding.linear or not finding.labelled

    def score(path: Path) -> Score:
        found = judge.score_linearly(path) if is_linear else judge.score(path)
        if not found.metrics:
            raise AdaptError(f"the held-out photos of {course.name} tell nothing: hold out several of each class")
        return found

    assert tuning.checkpoint is not None
    candidates = search(
        supernet.space,
        score,
        lambda path: supernet.cost(path).macs,
        finding.population,
        finding.generations,
        finding.seed,
        tuning.checkpoint.with_suffix(".linear.json" if is_linear else ".json"),
    )
    chosen = within(candidates, finding.budget.macs(supernet.cost(supernet.space.full).macs))
    small, small_course = alone(supernet, chosen.path, course, card.preprocessing)
    training = go_on(small, [small_course], recipe_for(Plan("full"), recipe), folder, "inherited")
    return Found(supernet, candidates, chosen, small, small_course, supernet.card_of(chosen.path, card), training)
