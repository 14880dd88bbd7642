"""What a domain is to be good at: what a step costs, how good it is by now, and in which order photos come."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from manyeyes.adapt.training.in_training import Said
from manyeyes.experts.folds import Rows

# The label of a photo of which nobody says what it shows.
UNLABELLED = -1

Metrics = dict[str, float]


@dataclass(frozen=True)
class Score:
    """loss : what training and the search of a network go down on. metrics : figures by name, the principal one first;
    without any, the domains that are judged together have none in common."""

    loss: float
    metrics: Metrics

    @property
    def accuracy(self) -> float:
        """Share of the right ones. Raises KeyError where the objective is about something else."""
        return self.metrics["accuracy"]


@dataclass(frozen=True)
class Objective(ABC):
    """Its fields, of plain data, are all that it depends on: they tell one training from another.

    Labels are numbers of the domain's classes; those of photos without one are :data:`UNLABELLED`.
    """

    name: ClassVar[str]
    # Of the principal metric: what its numbers are of, where "%" is for shares; and which way is better.
    unit: ClassVar[str] = "%"
    more_is_better: ClassVar[bool] = True
    # Whether logits decide how good a domain is, or features alone do.
    goes_by_logits: ClassVar[bool] = True

    def to_dict(self) -> dict[str, Any]:
        """Its name and fields, for JSON."""
        return {"name": self.name} | asdict(self)

    @abstractmethod
    def loss(self, said: Said, labels: Tensor, smoothing: float) -> Tensor:
        """What to go down on for B photos with these labels (B,), ``smoothing`` of them spread over all classes."""

    @abstractmethod
    def score(self, features: Tensor, logits: Tensor, labels: Tensor) -> Score:
        """How good (n, D) and (n, C) are for n photos with these labels (n,)."""

    @abstractmethod
    def words(self, metrics: Metrics) -> str:
        """The metrics for people."""

    def order(self, labels: Rows, random: np.random.Generator) -> Rows:
        """The positions of n photos with these labels in the order of an epoch: (n,). Batches are cut from it."""
        return random.permutation(len(labels))
