"""How to train, as data."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from manyeyes.errors import ChoiceError

Optimiser = Literal["sgd", "adamw"]
Schedule = Literal["cosine", "step", "constant"]
TrainingPrecision = Literal["fp32", "bf16"]

# Step schedule: a tenth from two thirds on, a hundredth from five sixths on, as the authors' 80 and 100 of 120 epochs.
MILESTONES = (2 / 3, 5 / 6)
# Decay of weights for so many photos a class: the grid of the notes on the papers' runs falls on this line.
DECAY_AT_ONE, LEAST_DECAY, MOST_DECAY = 2e-2, 1e-4, 5e-3


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training but the network and the photos: the same recipe gives the same numbers.

    epochs : passes over the photos at most. batch : photos in a step. optimiser, rate, momentum : AdamW, or SGD with
    Nesterov's momentum. norm_rate, head_rate : shares of the rate at which norms and head are trained; a head that is
    as fast as adapters fits few photos before these do. schedule : how the rate falls; it first rises for ``warm_up``
    epochs. clip : largest norm of a step's gradients; 0 for any. decay : of adapters (and of a backbone that is
    trained); None chooses it by the number of photos a class (:func:`decay_for`). norm_decay, head_decay : of norms and
    head; None for the same as that. smoothing : of labels. dropout : of the features, before the head. flip : whether
    half of the photos are mirrored. patience : epochs without a better loss on held-out photos before training ends.
    precision : bf16 trains in mixed precision. seed : of everything that is drawn.
    """

    epochs: int = 30
    batch: int = 32
    optimiser: Optimiser = "adamw"
    rate: float = 0.003
    momentum: float = 0.9
    norm_rate: float = 0.5
    head_rate: float = 0.15
    schedule: Schedule = "cosine"
    warm_up: float = 1.0
    clip: float = 5.0
    decay: float | None = None
    norm_decay: float | None = None
    head_decay: float | None = None
    smoothing: float = 0.0
    dropout: float = 0.0
    flip: bool = True
    patience: int = 10
    precision: TrainingPrecision = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("optimiser", get_args(Optimiser)),
            ("schedule", get_args(Schedule)),
            ("precision", get_args(TrainingPrecision)),
        ):
            if getattr(self, name) not in allowed:
                raise ChoiceError(f"{name} is one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        if not all(math.isfinite(value) for value in self.to_dict().values() if isinstance(value, float)):
            raise ChoiceError("the numbers of a recipe are finite")
        if self.epochs < 0 or self.batch < 1 or self.patience < 1 or self.rate <= 0:
            raise ChoiceError("a recipe wants epochs >= 0, batch >= 1, patience >= 1 and a rate above 0")
        decays = (self.decay or 0, self.norm_decay or 0, self.head_decay or 0)
        if min(self.warm_up, self.clip, *decays) < 0 or not all(
            0 <= share < 1 for share in (self.smoothing, self.dropout, self.momentum)
        ):
            raise ChoiceError("warm-up, clip and decay are 0 or more; smoothing, dropout and momentum below 1 as well")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def with_steps(self, least: int, photos: int) -> "Recipe":
        """The same for so many photos, which are passed over so often that there are ``least`` steps or more.

        >>> [Recipe(epochs=10).with_steps(60, photos).epochs for photos in (20, 320, 32_000)]
        [60, 10, 10]
        """
        steps = -(-photos // self.batch)
        return dataclasses.replace(self, epochs=max(self.epochs, -(-least // steps)))

    def rate_at(self, epoch: float) -> float:
        """The rate after so many epochs, whole or not.

        >>> recipe = Recipe(epochs=11, rate=0.1, warm_up=1)
        >>> [round(recipe.rate_at(epoch), 3) for epoch in (0.5, 1, 6, 11)]
        [0.05, 0.1, 0.05, 0.0]
        """
        if epoch < self.warm_up:
            return self.rate * epoch / self.warm_up
        share = (epoch - self.warm_up) / max(self.epochs - self.warm_up, 1e-9)
        if self.schedule == "cosine":
            return self.rate * (1 + math.cos(math.pi * min(share, 1))) / 2
        if self.schedule == "step":
            return self.rate * 0.1 ** sum(epoch >= part * self.epochs for part in MILESTONES)
        return self.rate

    def rates(self) -> dict[str, float]:
        """Factor on the rate by role."""
        return {"adapters": 1.0, "body": 1.0, "norms": self.norm_rate, "head": self.head_rate}

    def decays(self, photos_per_class: float) -> dict[str, float]:
        """Weight decay by role."""
        decay = decay_for(photos_per_class) if self.decay is None else self.decay
        norms = decay if self.norm_decay is None else self.norm_decay
        head = decay if self.head_decay is None else self.head_decay
        return {"adapters": decay, "body": decay, "norms": norms, "head": head}


def decay_for(photos_per_class: float) -> float:
    """Weight decay for so many photos a class: the fewer, the more; small sets gain most by it (NIPS 2017, table 2).

    >>> [decay_for(n) for n in (1, 4, 10, 40, 1000)]
    [0.005, 0.005, 0.002, 0.0005, 0.0001]
    """
    return min(max(DECAY_AT_ONE / photos_per_class, LEAST_DECAY), MOST_DECAY)
