"""As few backbones as a photo needs: fusions of ever more of them, asked in turn until one is sure.

Stage s fuses the first s backbones of an order that is learnt. It is fitted and calibrated by itself, so that its
probabilities are right for what it has seen, and no expert ever sees features that nobody made. A photo goes on until
its most probable class is as probable as a threshold, which honest outputs of the training photos give for a budget.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np
import numpy.typing as npt

from manyeyes.errors import ChoiceError, LackingBackboneError
from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.lesson import Lesson
from manyeyes.features.table import FeatureTable, backbone_of
from manyeyes.fusion.fusion import Fusion
from manyeyes.fusion.order import learn_order

Index = npt.NDArray[np.int64]
# Thresholds that are tried.
STEPS = 201
# By the number of a stage, and photos by theirs: those that could be looked at, and what the stage sees of them.
Look = Callable[[int, Index], tuple[Index, FeatureTable]]


@dataclass(frozen=True)
class Frontier:
    """What thresholds, (T,) rising, come to on photos with known classes: the mean cost, as a share of that of all
    backbones, and the share of photos that are right. The last threshold is never reached: all backbones are asked."""

    thresholds: FloatArray
    costs: FloatArray
    accuracies: FloatArray

    @classmethod
    def of(cls, said: FloatArray, labels: Index, costs: FloatArray, weights: FloatArray | None = None) -> Self:
        """From what each stage says, log-probabilities (n, S, C), of photos that are of these classes, (n,), and count
        so much for the accuracy; ``costs`` (S,) are those of going as far as each stage."""
        sure, right = np.exp(said.max(axis=2)), said.argmax(axis=2) == labels[:, None]
        if sure.shape[1] == 1:
            return cls(np.array([np.inf]), np.ones(1), np.average(right, axis=0, weights=weights))
        rows = np.arange(len(said))
        thresholds = np.append(np.unique(np.quantile(sure[:, :-1], np.linspace(0, 1, STEPS))), np.inf)
        stopped = [stops(sure, threshold) for threshold in thresholds]
        return cls(
            thresholds,
            np.array([costs[stage].mean() for stage in stopped]) / costs[-1],
            np.array([np.average(right[rows, stage], weights=weights) for stage in stopped]),
        )

    def allows(self, budget: float) -> npt.NDArray[np.bool_]:
        """Which thresholds, (T,), cost no more than a share of what all backbones cost."""
        return self.costs <= budget * (1 + 1e-9)

    def threshold(self, budget: float) -> float:
        """The highest within a budget. Raises ChoiceError when even the first backbone costs more."""
        within = self.allows(budget)
        if not within.any():
            raise ChoiceError(
                f"a budget of {budget:.1%} of what all backbones take is too small: the first takes {self.costs[0]:.1%}"
            )
        return float(self.thresholds[within][-1])

    def keeping(self, share: float) -> float:
        """The threshold of least cost with which so many photos are right, as a share of those by all backbones."""
        enough = np.flatnonzero(self.accuracies >= share * self.accuracies[-1] - 1e-9)
        return float(self.thresholds[enough[self.costs[enough].argmin()]])


@dataclass(frozen=True)
class Expected:
    """cost : of a photo on the mean, as a share of that of all backbones. accuracy, accuracy_of_all : shares of photos
    that are right, so and with all backbones."""

    cost: float
    accuracy: float
    accuracy_of_all: float


@dataclass(frozen=True)
class Run:
    """log_proba : (n, C). stages : of each photo the number of the stage that answered, (n,)."""

    log_proba: FloatArray
    stages: Index


class Cascade(Fusion):
    """Fusions of one kind, each of one backbone more than the one before.

    Parameters
    ----------
    whole : the fusion that each stage is, unfitted; the last stage is that of all backbones.
    costs : of each backbone by its name, in any unit.
    budget : what a photo may cost on the mean, as a share of what all backbones cost.

    Attributes (beside those of every fusion)
    ----------
    order_ : the backbones' names, in the order in which they are asked.
    stages_ : the fitted fusions.
    frontier_ : arrays ``thresholds``, ``costs`` and ``accuracies``, see :class:`Frontier`: of the training photos, by
        what had not seen them.
    threshold_ : how probable a class must be to be the answer.
    """

    order_: list[str]
    stages_: list[Fusion]
    frontier_: dict[str, FloatArray]
    threshold_: float

    def __init__(self, whole: Fusion, costs: Mapping[str, float], budget: float = 1.0) -> None:
        self.whole = whole
        self.costs = costs
        self.budget = budget

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
        """Answer for so many photos; each stage is asked about those only that those before were not sure of. The first
        must see all."""
        log_proba, stages = np.empty((count, len(self.classes_))), np.zeros(count, np.int64)
        left = np.arange(count)
        self.stages_[-1].share_with(self.stages_[:-1])
        for number, stage in enumerate(self.stages_):
            if len(left):
                seen, table = look(number, left)
                if len(seen):
                    log_proba[seen] = stage.predict_log_proba(table)
                stages[seen] = number
                left = seen[np.exp(log_proba[seen].max(axis=1)) < self.threshold_]
        return Run(log_proba, stages)

    def run_on(self, table: FeatureTable) -> Run:
        """Answer for photos that all backbones have looked at."""
        return self.run(len(table), lambda number, rows: (rows, table.select(self.stages_[number].blocks_)[rows]))

    def opinions(self, X: FeatureTable) -> dict[str, FloatArray]:
        return self.stages_[-1].opinions(X)

    def opinions_of_stages(self, table: FeatureTable) -> FloatArray:
        """What every stage says of photos that all backbones have looked at: log-probabilities (n, S, C)."""
        self.stages_[-1].share_with(self.stages_[:-1])
        return np.stack([stage.predict_log_proba(table) for stage in self.stages_], axis=1)

    def spend(self, budget: float) -> Self:
        """Go by another budget from now on. Nothing is trained. Raises ChoiceError for one too small."""
        self.threshold_ = self.learnt.threshold(budget)
        self.budget = budget
        self.__dict__.pop("_left", None)  # what is left without a backbone goes by the old one
        return self

    @property
    def learnt(self) -> Frontier:
        return Frontier(**self.frontier_)

    def expected(self) -> Expected:
        """What the threshold comes to on the training photos, by what had not seen them."""
        found = self.learnt
        at = int(np.flatnonzero(found.thresholds <= self.threshold_)[-1])
        return Expected(float(found.costs[at]), float(found.accuracies[at]), float(found.accuracies[-1]))

    def spent(self, stages: Index) -> tuple[float, float]:
        """What it takes on the mean when these stages answer, (n,): cost, as a share of what all backbones cost, and
        how many are asked."""
        costs = self.costs_so_far()
        return float(costs[stages].mean() / costs[-1]), float(1 + stages.mean())

    def costs_so_far(self) -> FloatArray:
        """Of going as far as each stage: (S,)."""
        return np.cumsum([self.costs[name] for name in self.order_])

    def _keep_blocks(self, kept: list[int]) -> bool:
        stages: dict[str, Fusion] = {}
        for backbone, stage in zip(self.order_, self.stages_, strict=True):
            if any(backbone_of(name) == backbone for name in self.blocks_):
                with suppress(LackingBackboneError):
                    stages[backbone] = stage.without(set(stage.blocks_) - set(self.blocks_))
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
        self.order_ = learn_order(lesson, own, self.costs, self.budget)
        names = [own[backbone] for backbone in self.order_]
        prefixes = [list(chain(*names[: number + 1])) for number in range(len(names))]
        self.stages_ = self.whole.fit_nested(lesson, prefixes)
        said = np.stack([stage.out_of_fold_ for stage in self.stages_], axis=1)
        known = np.isfinite(said).all(axis=(1, 2)) & (lesson.weights > 0)
        if not known.any():
            raise ChoiceError("too few photos to learn a threshold by: add some, or leave out the budget")
        found = Frontier.of(said[known], lesson.labels[known], self.costs_so_far(), lesson.weights[known])
        self.frontier_ = vars(found)
        self.spend(self.budget)
        stopped = stops(np.exp(said.max(axis=2)), self.threshold_)
        return said[np.arange(len(said)), stopped]

    def _calibrate(self, lesson: Lesson, honest: FloatArray) -> None:
        self.out_of_fold_, self.temperature_ = honest, 1.0  # each stage is calibrated by itself

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return self.run_on(table).log_proba


def stops(sure: FloatArray, threshold: float) -> Index:
    """Where photos stop, (n,), whose most probable class is so probable at each stage, (n, S): at the first that is
    sure, or the last."""
    is_sure = sure >= threshold
    is_sure[:, -1] = True  # nobody else can be asked
    stopped: Index = is_sure.argmax(axis=1)
    return stopped
