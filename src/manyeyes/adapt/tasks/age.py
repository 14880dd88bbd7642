"""How old somebody is: what a softmax over ages expects (DEX: Rothe, Timofte, Van Gool, ICCV workshops 2015), learnt as
in DLDL-v2 (Gao, Zhou, Wu, Geng: IJCAI 2018)."""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, softmax

from manyeyes.adapt.tasks.objective import UNLABELLED, Metrics, Objective, Score
from manyeyes.adapt.training.in_training import Said
from manyeyes.errors import ChoiceError

# Years by which those of a bin without an end are older than its beginning, on the mean: half of a bin of ten years.
BEYOND = 5.0

_NUMBER = r"(\d+(?:\.\d+)?)"
_AGE, _BIN, _OPEN = (re.compile(words) for words in (_NUMBER, rf"{_NUMBER}\s*[-–]\s*{_NUMBER}", rf"{_NUMBER}\s*[-–+]"))


@dataclass(frozen=True)
class Age(Objective):
    """ages : in years, of each class. sigma : of the normal distribution around the true age that is to be said, in
    years. weight : of the error of the expected age, in years, beside the divergence from that distribution. Both
    are those of DLDL-v2."""

    ages: tuple[float, ...]
    sigma: float = 2.0
    weight: float = 1.0

    name: ClassVar[str] = "age"
    unit: ClassVar[str] = "years"
    more_is_better: ClassVar[bool] = False

    @classmethod
    def of(cls, classes: tuple[str, ...]) -> Self:
        """For classes that are ages, or bins of them. Raises ChoiceError for one that is neither."""
        return cls(tuple(map(age_of, classes)))

    def expected(self, logits: Tensor) -> Tensor:
        """(B, C) → years, (B,)."""
        return (softmax(logits, dim=1) * self._years(logits)).sum(dim=1)

    def loss(self, said: Said, labels: Tensor, smoothing: float) -> Tensor:
        known = labels != UNLABELLED
        logits, labels = said.logits[known].float(), labels[known]
        years = self._years(logits)
        truth = years[labels]
        wanted = softmax(-((years - truth[:, None]) ** 2) / (2 * self.sigma**2), dim=1)
        wanted = (1 - smoothing) * wanted + smoothing / len(years)
        divergence = kl_div(log_softmax(logits, dim=1), wanted, reduction="sum")
        error = (self.expected(logits) - truth).abs().sum()
        return (divergence + self.weight * error) / max(len(labels), 1)

    def score(self, features: Tensor, logits: Tensor, labels: Tensor) -> Score:
        known = labels != UNLABELLED
        if not known.any():
            return Score(0.0, {})
        error = float(
            (self.expected(logits[known].double()) - self._years(logits).double()[labels[known]]).abs().mean()
        )
        return Score(error, {"mean absolute error": error})

    def words(self, metrics: Metrics) -> str:
        return f"off by {metrics['mean absolute error']:.1f} years on the mean"

    def _years(self, logits: Tensor) -> Tensor:
        return torch.tensor(self.ages, device=logits.device)


def age_of(name: str) -> float:
    """The age in years that a class stands for: its own, or the middle of its bin; one without an end is taken to have
    its middle :data:`BEYOND` years after its beginning. Raises ChoiceError for a name that is no age.

    >>> [age_of(name) for name in ("27", "21-30", "70+", "71-")]
    [27.0, 25.5, 75.0, 76.0]
    """
    if found := _AGE.fullmatch(name):
        return float(found[1])
    if (found := _BIN.fullmatch(name)) and float(found[1]) <= float(found[2]):
        return (float(found[1]) + float(found[2])) / 2
    if found := _OPEN.fullmatch(name):
        return float(found[1]) + BEYOND
    raise ChoiceError(f"the class {name!r} is no age: call it by years, such as 27, 21-30 or 70+")
