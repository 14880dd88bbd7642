"""Who somebody is whom the network has never learnt: photos of one identity are to lie next to each other."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from manyeyes.adapt.tasks.classification import labelled_cross_entropy
from manyeyes.adapt.tasks.objective import UNLABELLED, Metrics, Objective, Score
from manyeyes.adapt.tasks.retrieval import Shots, retrieval
from manyeyes.adapt.training.in_training import Said
from manyeyes.errors import MissingExtraError
from manyeyes.experts.folds import Rows

# Photos of an identity that come one after the other, at most.
RUN = 4
# Fewer identities would find themselves whatever the network sees.
LEAST = 2


@dataclass(frozen=True)
class ReIdentification(Objective):
    """Cross entropy over identities, and the triplet loss of each photo with the farthest of its own and the nearest of
    another in its batch ("In Defense of the Triplet Loss": Hermans, Beyer, Leibe, 2017).

    margin : between these two, of features of length 1. weight : of the triplet loss. Raises MissingExtraError.
    """

    margin: float = 0.3
    weight: float = 1.0

    name: ClassVar[str] = "re-identification"
    goes_by_logits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _metric_learning()  # known before hours of work

    def loss(self, said: Said, labels: Tensor, smoothing: float) -> Tensor:
        losses, miners = _metric_learning()
        by_identity, known = labelled_cross_entropy(said.logits, labels, smoothing), labels != UNLABELLED
        if not known.any():
            return by_identity
        with torch.autocast(labels.device.type, enabled=False):
            features, identities = said.features[known].float(), labels[known]
            hardest = miners.BatchHardMiner()(features, identities)
            triplets: Tensor = losses.TripletMarginLoss(self.margin)(features, identities, hardest)
        return by_identity + self.weight * triplets

    def score(self, features: Tensor, logits: Tensor, labels: Tensor) -> Score:
        """Each photo asks all others. The loss is what is lacking of the mean average precision."""
        identities = labels.numpy()
        # As if each came of a camera of its own, so that it never finds itself.
        shots = Shots(features, identities, np.arange(len(identities)))
        metrics = retrieval(shots, shots)
        return Score(1 - metrics["mAP"], metrics) if metrics else Score(1.0, {})

    def words(self, metrics: Metrics) -> str:
        return f"rank-1 {metrics['rank-1']:.1%}, mAP {metrics['mAP']:.1%}"

    def order(self, labels: Rows, random: np.random.Generator) -> Rows:
        """Up to :data:`RUN` photos of an identity one after the other, so that batches hold pairs."""
        shuffled = random.permutation(len(labels))
        shuffled = shuffled[np.argsort(labels[shuffled], kind="stable")]
        own = np.split(shuffled, np.flatnonzero(np.diff(labels[shuffled])) + 1)
        runs = [run for rows in own for run in np.array_split(rows, max(-(-len(rows) // RUN), 1))]
        return np.concatenate([runs[number] for number in random.permutation(len(runs))])


def held_identities(labels: Rows, seed: int, parts: int) -> tuple[Rows, Rows]:
    """Positions (train, held) of photos with these labels (n,): about one of so many identities is held out, with all
    of its photos. An identity of one photo is trained on; so are all when there are too few to hold out any."""
    found, counts = np.unique(labels, return_counts=True)
    several = found[counts > 1]
    count = max(round(len(several) / parts), LEAST)
    if len(several) < 2 * LEAST:
        return np.arange(len(labels)), np.arange(0)
    _, held = train_test_split(several, test_size=count, random_state=seed)
    is_held = np.isin(labels, held)
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def _metric_learning() -> tuple[Any, Any]:
    try:
        from pytorch_metric_learning import losses, miners
    except ImportError:
        raise MissingExtraError(
            "re-identification needs pytorch-metric-learning: pip install 'manyeyes[reid]'"
        ) from None
    return losses, miners
