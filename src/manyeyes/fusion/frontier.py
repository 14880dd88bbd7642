"""What looking further at a photo is worth, and what a price for it comes to: accuracy against cost.

A further look can at best set right what would be wrong, and that is likely where the answer so far is not probable.
So it is worth, for each unit of what it costs,

    worth = (1 − max_c p_c) / cost of the next look,

with calibrated probabilities p. A photo is looked at further as long as that is worth a price. One price for all stages
asks for more doubt before an expensive look than before a cheap one.
"""

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from manyeyes.errors import ChoiceError
from manyeyes.experts import FloatArray

Index = npt.NDArray[np.int64]
# Who decides how far to look: how sure the answer so far is, a gate that sees a thumbnail, or first the one, then the
# other.
By = Literal["confidence", "thumbnail", "both"]
# Prices that are tried.
STEPS = 401
# A price that outweighs whatever a gate says.
FAR = 1e12


@dataclass(frozen=True)
class Frontier:
    """What prices, (T,) falling, come to on photos with known classes: the mean cost, as a share of that of all
    backbones; the share of photos that are right; and the share of those that are right by all backbones that new
    photos may lose, see :func:`losses_of`. The last price is so low that all backbones are asked."""

    prices: FloatArray
    costs: FloatArray
    accuracies: FloatArray
    losses: FloatArray

    @classmethod
    def of(cls, looks: "Looks", said: FloatArray, labels: Index, weights: FloatArray | None = None) -> Self:
        """Of photos of which the stages say this, log-probabilities (n, S, C), which are of these classes, (n,), and
        count so much, (n,), in all but the cost."""
        rows, prices = np.arange(len(said)), looks.prices()
        weights = np.ones(len(said)) if weights is None else weights
        right, losses = said.argmax(axis=2) == labels[:, None], losses_of(said, weights)
        stops = [looks.stops(price) for price in prices]
        return cls(
            prices,
            np.array([looks.costs[stopped].mean() for stopped in stops]),
            np.array([np.average(right[rows, stopped], weights=weights) for stopped in stops]),
            np.array([bound(losses[rows, stopped], weights) for stopped in stops]),
        )

    def allows(self, budget: float) -> npt.NDArray[np.bool_]:
        """Which prices, (T,), cost no more than a share of what all backbones cost."""
        return self.costs <= budget * (1 + 1e-9)

    def price(self, budget: float) -> float:
        """The lowest within a budget. Raises ChoiceError when even the first backbone costs more."""
        within = self.allows(budget)
        if not within.any():
            raise ChoiceError(
                f"a budget of {budget:.1%} of what all backbones take is too small: the first takes {self.costs[0]:.1%}"
            )
        return float(self.prices[within][-1])

    def keeping(self, share: float) -> float:
        """The price of least cost with which so many of the photos that are right by all backbones stay right."""
        enough = np.flatnonzero(self.losses <= 1 - share + 1e-12)
        return float(self.prices[enough[self.costs[enough].argmin()]])

    def at(self, price: float) -> "Expected":
        """What the photos come to by a price."""
        place = int(np.flatnonzero(self.prices >= price)[-1])
        return Expected(float(self.costs[place]), float(self.accuracies[place]), float(self.accuracies[-1]))


@dataclass(frozen=True)
class Expected:
    """cost : of a photo on the mean, as a share of that of all backbones. accuracy, accuracy_of_all : shares of photos
    that are right, so and with all backbones."""

    cost: float
    accuracy: float
    accuracy_of_all: float


def losses_of(said: FloatArray, weights: FloatArray) -> FloatArray:
    """What stopping at each stage may lose of photos like these, (n, S), as shares of what the last stage has right.

    Few photos tell two answers apart: among 200, none may be lost by whom one of 100 is. So the last stage's calibrated
    probabilities p are asked instead of labels. It loses ``max_c p_c − p_ĉ`` by the answer ĉ of another stage that
    is not its own: as much as these photos know. And of a photo to which both give the same answer, others like it
    would get it from the last stage only, as often as that is surer: at most. The truth lies between; a quarter of the
    way from the former to the latter, which was enough on flowers17, hymenoptera2 and trashnet6.
    """
    last = np.exp(said[:, -1])
    lost = last.max(axis=1, keepdims=True) - np.take_along_axis(last, said.argmax(axis=2), axis=1)
    surer = np.maximum(last.max(axis=1, keepdims=True) - np.exp(said.max(axis=2)), 0)
    losses: FloatArray = (0.75 * lost + 0.25 * surer) / np.average(last.max(axis=1), weights=weights)
    return losses


def bound(values: FloatArray, weights: FloatArray) -> float:
    """Their mean, and one standard error more."""
    mean = np.average(values, weights=weights)
    variance = np.average((values - mean) ** 2, weights=weights)
    return float(mean + (variance / max((weights > 0).sum(), 1)) ** 0.5)


@dataclass(frozen=True)
class Looks:
    """n photos and how far to look at them.

    worth : of looking further after each stage but the last, (n, S − 1). weights : of the stages in the eyes of a gate
    that sees thumbnails, logarithms (n, S), or None. costs : of going as far as each stage, (S,), as shares of what all
    backbones cost. by : who decides.
    """

    worth: FloatArray
    weights: FloatArray | None
    costs: FloatArray
    by: By

    @classmethod
    def of(cls, said: FloatArray, weights: FloatArray | None, costs: FloatArray, by: By) -> Self:
        """Of what the stages say: log-probabilities (n, S, C)."""
        return cls((1 - np.exp(said[:, :-1].max(axis=2))) / np.diff(costs), weights, costs, by)

    def stops(self, price: float) -> Index:
        """The stage that answers, (n,)."""
        return self.stops_from(starts_of(self.weights, self.costs, price, self.by), price)

    def stops_from(self, starts: Index | int, price: float) -> Index:
        """The same where these stages, (n,), are the first that may answer."""
        count, steps = self.worth.shape
        on = goes_on(np.arange(steps), self.worth, np.reshape(starts, (-1, 1)), price, self.by)
        stops: Index = np.append(on, np.zeros((count, 1), bool), axis=1).argmin(axis=1)
        return stops

    def prices(self) -> FloatArray:
        """That part these photos: (T,) falling, from one that none is worth to one that all are."""
        values = np.minimum.accumulate(self.worth, axis=1)
        if self.by == "thumbnail":
            assert self.weights is not None
            earlier, later = np.triu_indices(len(self.costs), 1)
            values = (self.weights[:, later] - self.weights[:, earlier]) / (self.costs[later] - self.costs[earlier])
        if not values.size:
            return np.array([-np.inf])
        between = np.unique(np.quantile(values, np.linspace(0, 1, STEPS)))[::-1]
        return np.concatenate([[np.inf], between, [-np.inf]])


def goes_on(number: Any, worth: FloatArray, starts: Any, price: float, by: By) -> npt.NDArray[np.bool_]:
    """Whether photos are looked at further after the stage of this number: never on the way to where they start."""
    on: npt.NDArray[np.bool_] = number < starts
    return on if by == "thumbnail" else on | (worth >= price)


def starts_of(weights: FloatArray | None, costs: FloatArray, price: float, by: By) -> Index | int:
    """The first stage that may answer, (n,), by a gate's log-weights, (n, S): where it decides alone, a price moves it.
    Without a gate any may."""
    if weights is None:
        return 0
    charged = np.clip(price, -FAR, FAR) * costs if by == "thumbnail" else 0
    starts: Index = (weights - charged).argmax(axis=1)
    return starts
