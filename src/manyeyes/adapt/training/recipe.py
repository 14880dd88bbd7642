"""How to train, as data."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from manyeyes.errors import ChoiceError

Optimiser = Literal["sgd", "adamw"]
Schedule = Literal["cosine", "step", "constant"]
TrainingPrecision = Literal["fp32", "bf16"]

Cut = Literal["shifted", "resized"]

# Step schedule: a tenth from two thirds on, a hundredth from five sixths on, as the 80 and 100 of 120 epochs of the
# adapters' authors.
MILESTONES = (2 / 3, 5 / 6)
# Shares of the rate: of the network's own weights, and of gates over its features.
BODY_RATE, GATE_RATE = 0.15, 1.0
# Decay of weights for so many photos a class: the grid of the notes on the papers' runs falls on this line.
DECAY_AT_ONE, LEAST_DECAY, MOST_DECAY = 2e-2, 1e-4, 5e-3


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training but the network and the photos: the same recipe gives the same numbers.

    epochs : passes over the photos at most. batch : photos in a step. optimiser, rate, momentum, nesterov : AdamW, or
    SGD with momentum. norm_rate, body_rate, gate_rate, head_rate : shares of the rate at which norms, weights of the
    network, gates over features and heads are trained; a head that is as fast as adapters fits few photos before these
    do. schedule, milestones : how the rate falls, to a tenth after each of these shares of the epochs in "step"; it
    first rises for ``warm_up`` epochs. clip : largest norm of a step's gradients; 0 for any. decay : of adapters, gates
    and the network's weights; None chooses it by the number of photos a class (:func:`decay_for`). norm_decay,
    head_decay : of norms and head; None for the same as that. smoothing : of labels. dropout : of the features, before
    the head. frozen : for so many epochs all that the backbone consists of stays as it is, bit for bit, and only gates
    and heads are trained. drifts : in these epochs norms follow the batches and momentum builds up, though the rate is
    zero, as in the published code of GTN. auxiliary : weight of the loss of a second classifier, on the penultimate
    stage, which is there in training only; 0 for none. sparsity : what the mean weight of a feature behind its gate
    costs. cut, flip : how photos are varied: shifted within their margin, or any part of any size, resized; and half of
    them mirrored. patience : epochs without a better loss on held-out photos before training ends. precision : bf16
    trains in mixed precision. seed : of everything that is drawn.
    """

    epochs: int = 30
    batch: int = 32
    optimiser: Optimiser = "adamw"
    rate: float = 0.003
    momentum: float = 0.9
    nesterov: bool = True
    norm_rate: float = 0.5
    body_rate: float = BODY_RATE
    gate_rate: float = GATE_RATE
    head_rate: float = 0.15
    schedule: Schedule = "cosine"
    milestones: tuple[float, ...] = MILESTONES
    warm_up: float = 1.0
    clip: float = 5.0
    decay: float | None = None
    norm_decay: float | None = None
    head_decay: float | None = None
    smoothing: float = 0.0
    dropout: float = 0.0
    frozen: int = 0
    drifts: bool = False
    auxiliary: float = 0.0
    sparsity: float = 0.0
    cut: Cut = "shifted"
    flip: bool = True
    patience: int = 10
    precision: TrainingPrecision = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("optimiser", get_args(Optimiser)),
            ("schedule", get_args(Schedule)),
            ("precision", get_args(TrainingPrecision)),
            ("cut", get_args(Cut)),
        ):
            if getattr(self, name) not in allowed:
                raise ChoiceError(f"{name} is one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        numbers = [value for value in self.to_dict().values() if isinstance(value, float)]
        if not all(map(math.isfinite, (*numbers, *self.milestones))):
            raise ChoiceError("the numbers of a recipe are finite")
        if self.epochs < 0 or self.frozen < 0 or self.batch < 1 or self.patience < 1 or self.rate <= 0:
            raise ChoiceError("a recipe wants epochs and frozen >= 0, batch >= 1, patience >= 1 and a rate above 0")
        decays = (self.decay or 0, self.norm_decay or 0, self.head_decay or 0)
        costs = (self.auxiliary, self.sparsity, *self.rates().values())
        if min(self.warm_up, self.clip, *decays, *costs) < 0 or not all(
            0 <= share < 1 for share in (self.smoothing, self.dropout, self.momentum)
        ):
            raise ChoiceError(
                "warm-up, clip, decay, auxiliary, sparsity and shares of the rate are 0 or more; smoothing, dropout "
                "and momentum below 1 as well"
            )

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def with_steps(self, least: int, photos: int) -> "Recipe":
        """The same for so many photos, which are passed over so often that there are ``least`` steps or more.

        >>> [Recipe(epochs=10).with_steps(60, photos).epochs for photos in (20, 320, 32_000)]
        [60, 10, 10]
        """
        steps = -(-photos // self.batch)
        return dataclasses.replace(self, epochs=max(self.epochs, -(-least // steps)))

    def all_at(self, share: float) -> "Recipe":
        """The same for a network that is trained as a whole: all of it at one rate, this share of the adapters'."""
        return dataclasses.replace(self, norm_rate=share, body_rate=share, head_rate=share)

    def rate_at(self, epoch: float) -> float:
        """The rate of the step that ends after so many epochs, whole or not.

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
            return self.rate * 0.1 ** sum(epoch > part * self.epochs for part in self.milestones)
        return self.rate

    def rates(self) -> dict[str, float]:
        """Factor on the rate by role."""
        return {
            "adapters": 1.0,
            "norms": self.norm_rate,
            "body": self.body_rate,
            "gates": self.gate_rate,
            "head": self.head_rate,
        }

    def decays(self, photos_per_class: float) -> dict[str, float]:
        """Weight decay by role."""
        decay = decay_for(photos_per_class) if self.decay is None else self.decay
        norms = decay if self.norm_decay is None else self.norm_decay
        head = decay if self.head_decay is None else self.head_decay
        return {"adapters": decay, "norms": norms, "body": decay, "gates": decay, "head": head}


def decay_for(photos_per_class: float) -> float:
    """Weight decay for so many photos a class: the fewer, the more; small sets gain most by it (NIPS 2017, table 2).

    >>> [decay_for(n) for n in (1, 4, 10, 40, 1000)]
    [0.005, 0.005, 0.002, 0.0005, 0.0001]
    """
    return min(max(DECAY_AT_ONE / photos_per_class, LEAST_DECAY), MOST_DECAY)
