"""Classification where no labels are: of photos of another place, with what photos of the place itself say unasked."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor
from torch.nn.functional import log_softmax

from manyeyes.adapt.tasks.classification import Classification, labelled_cross_entropy
from manyeyes.adapt.tasks.objective import UNLABELLED, Metrics, Objective, Score
from manyeyes.adapt.training.in_training import Said
from manyeyes.experts.folds import Rows


@dataclass(frozen=True)
class DomainAdaptation(Objective):
    """Cross entropy of the labelled photos, and on the unlabelled ones the information that is lacking
    (:func:`lacking_information`). Both together, on photos held out, say when to stop: no label of the place is used.

    weight : of the latter.
    """

    weight: float = 1.0

    name: ClassVar[str] = "domain adaptation"

    def loss(self, said: Said, labels: Tensor, smoothing: float) -> Tensor:
        loss = labelled_cross_entropy(said.logits, labels, smoothing)
        unlabelled = said.logits[labels == UNLABELLED]
        return loss + self.weight * lacking_information(unlabelled) if len(unlabelled) else loss

    def score(self, features: Tensor, logits: Tensor, labels: Tensor) -> Score:
        """``accuracy`` is that of labelled photos, ``information`` what is said of the others, in nats."""
        known = Classification().score(features, logits, labels)
        unlabelled = logits[labels == UNLABELLED].double()
        if not len(unlabelled):
            return known
        lacking = float(lacking_information(unlabelled))
        return Score(known.loss + self.weight * lacking, known.metrics | {"information": -lacking})

    def words(self, metrics: Metrics) -> str:
        parts = [Classification().words(metrics)] if "accuracy" in metrics else []
        if "information" in metrics:
            parts.append(f"{metrics['information']:.2f} nats of information about the unlabelled")
        return ", ".join(parts)

    def order(self, labels: Rows, random: np.random.Generator) -> Rows:
        """Labelled and unlabelled ones in the same proportion everywhere, so that batches hold both."""
        parts = [random.permutation(np.flatnonzero(which)) for which in (labels != UNLABELLED, labels == UNLABELLED)]
        places = np.concatenate([(np.arange(len(part)) + 0.5) / max(len(part), 1) for part in parts])
        return np.concatenate(parts)[np.argsort(places, kind="stable")]


def lacking_information(logits: Tensor) -> Tensor:
    """The mean entropy of what is said of B photos less the entropy of its mean, (B, C) → a number of nats.

    From −log C, each photo surely of a class and all classes alike, to 0, the same said of every photo: information
    maximisation as in SHOT (Liang, Hu, Feng: ICML 2020).
    """
    log_proba = log_softmax(logits, dim=1)
    mean = log_proba.exp().mean(dim=0)
    each = -(log_proba.exp() * log_proba).sum(dim=1).mean()
    return each + (mean * mean.clamp(min=1e-12).log()).sum()
