"""As few backbones as a photo needs: fusions of ever more of them, asked in turn until one is sure.

Stage s fuses the first s backbones of an order that is learnt. It is fitted and calibrated by itself, so that its
probabilities are right for what it has seen, and no expert ever sees features that nobody made. A photo goes on while
that is worth a price (:mod:`manyeyes.fusion.frontier`), which honest outputs of the training photos give for a budget.
Or a gate picks a stage by the photo's thumbnail: where the photo stops, or only where it may stop at the earliest.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import chain
from typing import Self

import numpy as np
import numpy.typing as npt

from manyeyes.errors import ChoiceError, LackingBackboneError
from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.lesson import Lesson
from manyeyes.features.table import FeatureTable, backbone_of
from manyeyes.fusion.frontier import By, Expected, Frontier, Index, Looks, goes_on, starts_of
from manyeyes.fusion.fusion import Fusion
from manyeyes.fusion.order import learn_order
from manyeyes.fusion.picking import check_by, learn_to_pick
from manyeyes.gates.gate import Gate
from manyeyes.gates.mixing import log_weights

# Photos that are asked about at once: what is known of them is kept from stage to stage.
PART = 1024
# By the number of a stage, and photos by theirs: those that could be looked at, and what the stage sees of them.
Look = Callable[[int, Index], tuple[Index, FeatureTable]]


@dataclass(frozen=True)
class Run:
    """log_proba : (n, C). stages : of each photo the number of the stage that answered, (n,). picked, sure : the class
    and its probability after each stage that was asked, (n, S); 0 and NaN for others."""

    log_proba: FloatArray
    stages: Index
    picked: Index
    sure: FloatArray


class Cascade(Fusion):
    """Fusions of one kind, each of one backbone more than the one before.

    Parameters
    ----------
    whole : the fusion that each stage is, unfitted; the last stage is that of all backbones.
    costs : of each backbone by its name, in any unit.
    budget : what a photo may cost on the mean, as a share of what all backbones cost.
    by : who decides how far to look at a photo: "confidence" of the answer so far; a gate that sees its "thumbnail"; or
        "both": the gate says where it may stop at the earliest, and from there on confidence decides.
    gate : name of the gate, one that sees thumbnails; for confidence alone there is none.
    kept : None, or how many of the photos that are right by all backbones are to stay right, as a share: the budget is
        then the least that does it.

    Attributes (beside those of every fusion)
    ----------
    order_ : the backbones' names, in the order in which they are asked.
    stages_ : the fitted fusions.
    total_ : what all backbones cost.
    frontier_ : the arrays of a :class:`manyeyes.fusion.frontier.Frontier` by their names: of the training photos, by
        what had not seen them.
    price_ : what a further look must be worth.
    gate_, prior_ : the gate over the S stages, and log-weights (S,) beside its own; None where there is none.
    """

    order_: list[str]
    stages_: list[Fusion]
    total_: float
    frontier_: dict[str, FloatArray]
    price_: float
    gate_: Gate | None
    prior_: FloatArray | None

    def __init__(
        self,
        whole: Fusion,
        costs: Mapping[str, float],
        budget: float = 1.0,
        by: By = "confidence",
        gate: str = "cnn32",
        kept: float | None = None,
    ) -> None:
        self.whole = whole
        self.costs = costs
        self.budget = budget
        self.by: By = by
        self.gate = gate
        self.kept = kept

    # As its stages have them, whatever they are set to by then.
    @property
    def taps(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.whole.taps

    @property
    def class_weight(self) -> ClassWeight:  # type: ignore[override]
        return self.whole.class_weight

    @property
    def random_state(self) -> int:  # type: ignore[override]
        return self.whole.random_state

    def run(self, count: int, look: Look) -> Run:
        """Answer for so many photos; each stage is asked only about those that are worth a further look. The first must
        see all."""
        log_proba, stages = np.empty((count, len(self.classes_))), np.zeros(count, np.int64)
        picked, sure = np.zeros((count, len(self.stages_)), np.int64), np.full((count, len(self.stages_)), np.nan)
        left, starts, steps = np.arange(count), np.zeros(count, np.int64), np.diff(self.costs_so_far())
        self.stages_[-1].share_with(self.stages_[:-1])
        watch, before = self.stages_[-1].watch(), left
        for number, stage in enumerate(self.stages_):
            seen, table = look(number, left) if len(left) else (left, None)
            if table is None or not len(seen):
                break
            if number == 0:
                starts[seen] = starts_of(self._weights(table), self.costs_so_far(), self.price_, self.by)
            said, before = watch.say(stage, table, np.searchsorted(before, seen)), seen
            log_proba[seen], stages[seen] = said, number
            picked[seen, number], sure[seen, number] = said.argmax(axis=1), np.exp(said.max(axis=1))
            if number < len(steps):
                worth = (1 - sure[seen, number]) / steps[number]
                left = seen[goes_on(number, worth, starts[seen], self.price_, self.by)]
        return Run(log_proba, stages, picked, sure)

    def run_on(self, table: FeatureTable) -> Run:
        """Answer for photos that all backbones have looked at."""

        def run(some: FeatureTable) -> Run:
            return self.run(len(some), lambda number, rows: (rows, some.select(self.stages_[number].blocks_)[rows]))

        parts = [run(part) for part in _parts(table)]
        return Run(*(np.concatenate([vars(part)[one.name] for part in parts]) for one in fields(Run)))

    def opinions(self, X: FeatureTable) -> dict[str, FloatArray]:
        return self.stages_[-1].opinions(X)

    def honest_opinions(self) -> dict[str, FloatArray]:
        return self.stages_[-1].honest_opinions()

    def opinions_of_stages(self, table: FeatureTable) -> FloatArray:
        """What every stage says of photos that all backbones have looked at: log-probabilities (n, S, C)."""

        def say(some: FeatureTable) -> FloatArray:
            watch, every = self.stages_[-1].watch(), np.arange(len(some))
            return np.stack([watch.say(stage, some, every) for stage in self.stages_], axis=1)

        return np.concatenate([say(part) for part in _parts(table)])

    def looks(self, said: FloatArray, table: FeatureTable) -> Looks:
        """How far it is worth to look at photos of which every stage says this, (n, S, C)."""
        return Looks.of(said, self._weights(table), self.costs_so_far(), self.by)

    def spend(self, budget: float) -> Self:
        """Go by another budget from now on. Nothing is trained. Raises ChoiceError for one too small."""
        return self._go_by(self.learnt.price(budget), budget, None)

    def keep(self, share: float) -> Self:
        """From now on, let so many of the photos that all backbones have right stay right, at the least cost."""
        price = self.learnt.keeping(share)
        return self._go_by(price, self.learnt.at(price).cost, share)

    def _go_by(self, price: float, budget: float, kept: float | None) -> Self:
        self.price_, self.budget, self.kept = price, budget, kept
        self.__dict__.pop("_left", None)  # what is left without a backbone goes by the old one
        return self

    @property
    def learnt(self) -> Frontier:
        return Frontier(**self.frontier_)

    def expected(self) -> Expected:
        """What the price comes to on the training photos, by what had not seen them."""
        return self.learnt.at(self.price_)

    def spent(self, stages: Index) -> tuple[float, float]:
        """What it takes on the mean when these stages answer, (n,): cost, as a share of what all backbones cost, and
        how many are asked."""
        costs = self.costs_so_far()
        return float(costs[stages].mean()), float(1 + stages.mean())

    def costs_so_far(self) -> FloatArray:
        """Of going as far as each stage, as shares of what all backbones cost, those too that are lost: (S,)."""
        return np.cumsum([self.costs[name] for name in self.order_]) / self.total_

    def _keep_blocks(self, kept: list[int]) -> bool:
        stages: dict[str, Fusion] = {}
        for backbone, stage in zip(self.order_, self.stages_, strict=True):
            if any(backbone_of(name) == backbone for name in self.blocks_):
                with suppress(LackingBackboneError):
                    stages[backbone] = stage.without(set(stage.blocks_) - set(self.blocks_))
        if self.gate_ is not None and self.prior_ is not None:
            left = [number for number, name in enumerate(self.order_) if name in stages]
            self.gate_, self.prior_ = self.gate_.over(left), self.prior_[left]
        self.order_, self.stages_ = list(stages), list(stages.values())
        if self.stages_:
            self.blocks_, self.widths_ = self.stages_[-1].blocks_, self.stages_[-1].widths_
        return bool(stages)

    def _fit(self, lesson: Lesson) -> FloatArray:
        own: dict[str, list[str]] = {}
        for name in self.blocks_:
            own.setdefault(backbone_of(name), []).append(name)
        if unknown := own.keys() - self.costs.keys():
            raise ChoiceError(f"nobody says what {', '.join(sorted(unknown))} costs")
        check_by(self.by, self.gate)
        self.order_ = learn_order(lesson, own, self.costs, self.budget)
        self.total_ = float(sum(self.costs[backbone] for backbone in self.order_))
        names = [own[backbone] for backbone in self.order_]
        prefixes = [list(chain(*names[: number + 1])) for number in range(len(names))]
        self.stages_ = self.whole.fit_nested(lesson, prefixes)
        said = np.stack([stage.out_of_fold_ for stage in self.stages_], axis=1)
        known = np.isfinite(said).all(axis=(1, 2)) & (lesson.weights > 0)
        if not known.any():
            raise ChoiceError("too few photos to learn a price by: add some, or leave out the budget")
        costs = self.costs_so_far()
        weights = self._learn_to_pick(lesson, said, known)
        found = self._frontier(lesson, said, weights, known)
        if self.by == "both" and self.kept is None and not found.allows(self.budget).any():
            # Where the gate lets photos begin alone takes more than the budget: confidence decides by itself.
            self.gate_ = self.prior_ = weights = None
            found = self._frontier(lesson, said, weights, known)
        self.frontier_ = vars(found)
        self.spend(self.budget) if self.kept is None else self.keep(self.kept)
        stops = Looks.of(said, weights, costs, self.by).stops(self.price_)
        return said[np.arange(len(said)), stops]

    def _frontier(
        self, lesson: Lesson, said: FloatArray, weights: FloatArray | None, known: npt.NDArray[np.bool_]
    ) -> Frontier:
        looks = Looks.of(said[known], None if weights is None else weights[known], self.costs_so_far(), self.by)
        return Frontier.of(looks, said[known], lesson.labels[known], lesson.weights[known])

    def _learn_to_pick(self, lesson: Lesson, said: FloatArray, known: npt.NDArray[np.bool_]) -> FloatArray | None:
        """Train the gate, if there is one; return the stages' log-weights (n, S) by gates that had not seen a photo."""
        self.gate_, self.prior_ = None, None
        if self.by == "confidence":
            return None
        costs, weights = self.costs_so_far(), lesson.weights * known
        some = Looks.of(said[known], None, costs, "confidence")
        alone = Frontier.of(some, said[known], lesson.labels[known], weights[known])
        price = alone.price(self.budget) if self.kept is None else alone.keeping(self.kept)
        looks, budget = Looks.of(said, None, costs, self.by), alone.at(price).cost
        picked = learn_to_pick(self.gate, lesson, self.order_, said, looks, weights, budget, price)
        self.gate_, self.prior_ = picked.gate, picked.prior
        return picked.held_out

    def _weights(self, table: FeatureTable) -> FloatArray | None:
        """Log-weights of the stages by photos' thumbnails: (n, S)."""
        if self.gate_ is None or self.prior_ is None:
            return None
        return log_weights(self.gate_, table) + self.prior_

    def _calibrate(self, lesson: Lesson, honest: FloatArray) -> None:
        self.out_of_fold_, self.temperature_ = honest, 1.0  # each stage is calibrated by itself

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return self.run_on(table).log_proba


def _parts(table: FeatureTable) -> Iterator[FeatureTable]:
    for start in range(0, max(len(table), 1), PART):
        yield table[start : start + PART]
