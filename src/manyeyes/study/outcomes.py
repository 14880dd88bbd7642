"""What methods said of photos that they had not seen, photo by photo: all that tests and figures are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from manyeyes.experts import FloatArray
from manyeyes.experts.folds import Rows
from manyeyes.study.methods import Kind, Method
from manyeyes.study.metrics import Labels, Scores, score_answers

# In place of a class, where a photo was not judged.
NOT_JUDGED = -1


@dataclass(frozen=True)
class Split:
    """Rows to train on and rows to judge: one fold of one seed."""

    seed: int
    fold: int
    train: Rows
    test: Rows


@dataclass(frozen=True)
class Shares:
    """How much each of ``names`` counted for each photo: (m, number of names)."""

    names: tuple[str, ...]
    values: FloatArray


@dataclass(frozen=True)
class Answers:
    """What one method said of the m test photos of one split.

    predicted : (m,) class indices. of_truth : (m,) log-probability of the true class. confidence : (m,) probability of
    the predicted class. seconds : to fit and to answer; what it shares with methods before it is not counted again.
    shares : what counted how much, for a mixture and for others that tell.
    """

    predicted: Labels
    of_truth: FloatArray
    confidence: FloatArray
    seconds: float
    shares: Shares | None = None


@dataclass(frozen=True)
class Trial:
    """One split: the answers of every method, and of those that failed why."""

    split: Split
    answers: dict[str, Answers]
    failures: dict[str, str]


@dataclass(frozen=True)
class Result:
    """One method's scores, a :class:`Scores` for each split it was tried on; why it failed, if it did on any."""

    method: Method
    scores: tuple[Scores, ...]
    seconds: float = 0.0
    failure: str = ""

    def mean(self, name: str) -> float:
        return float(np.mean([getattr(one, name) for one in self.scores]))

    def spread(self, name: str) -> float:
        """Standard deviation over the splits (0 for one split)."""
        return float(np.std([getattr(one, name) for one in self.scores]))


@dataclass(frozen=True)
class Outcomes:
    """Every method on every split of the same n photos.

    classes : names, sorted. labels : (n,) indices into them. groups : (n,) or None; photos that belong together.
    """

    classes: tuple[str, ...]
    labels: Labels
    methods: tuple[Method, ...]
    trials: tuple[Trial, ...]
    groups: npt.NDArray[np.int64] | None = None

    @cached_property
    def seeds(self) -> list[int]:
        return sorted({trial.split.seed for trial in self.trials})

    @cached_property
    def failures(self) -> dict[str, str]:
        """Method → why it failed, for those that failed on any split."""
        return {name: why for trial in self.trials for name, why in trial.failures.items()}

    def results(self) -> list[Result]:
        """One for each method, in their order."""
        return [self._result(method) for method in self.methods]

    def names(self, kind: Kind | None = None) -> list[str]:
        """Methods that answered on every split, of this kind or of any."""
        return [
            method.name
            for method in self.methods
            if method.name not in self.failures and (kind is None or method.kind is kind)
        ]

    def method(self, name: str) -> Method:
        return next(method for method in self.methods if method.name == name)

    def predicted(self, name: str) -> Labels:
        """What the method said, (number of seeds, n), and NOT_JUDGED where it was not asked."""
        said = np.full((len(self.seeds), len(self.labels)), NOT_JUDGED, dtype=np.int64)
        for trial in self.trials:
            said[self.seeds.index(trial.split.seed), trial.split.test] = trial.answers[name].predicted
        return said

    def correct(self, name: str) -> npt.NDArray[np.bool_]:
        """Whether it was right: (number of seeds, n), False where it was not asked."""
        is_right: npt.NDArray[np.bool_] = self.predicted(name) == self.labels
        return is_right

    @cached_property
    def judged(self) -> npt.NDArray[np.bool_]:
        """Which photos were judged under which seed: (number of seeds, n)."""
        asked = np.zeros((len(self.seeds), len(self.labels)), dtype=bool)
        for trial in self.trials:
            asked[self.seeds.index(trial.split.seed), trial.split.test] = True
        return asked

    def mean_shares(self, name: str) -> tuple[Sequence[str], FloatArray] | None:
        """For each class what counted how much on average, (C, number of names); NaN for a class never judged.

        None where the method does not tell.
        """
        told = [(trial, shares) for trial in self.trials if (shares := trial.answers[name].shares) is not None]
        if not told:
            return None
        names = list(dict.fromkeys(one for _, shares in told for one in shares.names))
        sums, counts = np.zeros((len(self.classes), len(names))), np.zeros(len(self.classes))
        for trial, shares in told:
            labels = self.labels[trial.split.test]
            of_class = np.equal.outer(np.arange(len(self.classes)), labels).astype(np.float64)
            sums[:, [names.index(one) for one in shares.names]] += of_class @ shares.values
            counts += of_class.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return names, sums / counts[:, None]

    def _result(self, method: Method) -> Result:
        if failure := self.failures.get(method.name, ""):
            return Result(method, (), failure=failure)
        answers = [(trial, trial.answers[method.name]) for trial in self.trials]
        scores = tuple(
            score_answers(one.predicted, one.of_truth, one.confidence, self.labels[trial.split.test])
            for trial, one in answers
        )
        return Result(method, scores, float(np.mean([one.seconds for _, one in answers])))
