"""Which class a photo is of."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, nll_loss

from manyeyes.adapt.tasks.objective import UNLABELLED, Metrics, Objective, Score
from manyeyes.adapt.training.in_training import Said


@dataclass(frozen=True)
class Classification(Objective):
    """Cross entropy, and the share of photos that are right; photos without a label count for neither."""

    name: ClassVar[str] = "classification"

    def loss(self, said: Said, labels: Tensor, smoothing: float) -> Tensor:
        return labelled_cross_entropy(said.logits, labels, smoothing)

    def score(self, features: Tensor, logits: Tensor, labels: Tensor) -> Score:
        known = labels != UNLABELLED
        if not known.any():
            return Score(0.0, {})
        log_proba, labels = log_softmax(logits[known], dim=1), labels[known]
        right = (log_proba.argmax(dim=1) == labels).double().mean()
        return Score(float(nll_loss(log_proba.double(), labels)), {"accuracy": float(right)})

    def words(self, metrics: Metrics) -> str:
        return f"{metrics['accuracy']:.1%} right"


CLASSIFICATION = Classification()


@dataclass(frozen=True)
class Gender(Classification):
    """Which of two."""

    name: ClassVar[str] = "gender"


def labelled_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """The mean over the labelled of B photos, (B, C) and (B,); 0 where there are none."""
    total = cross_entropy(logits, labels, ignore_index=UNLABELLED, label_smoothing=smoothing, reduction="sum")
    return total / (labels != UNLABELLED).sum().clamp(min=1)
