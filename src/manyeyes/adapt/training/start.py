"""Where a domain's training begins: with a head that is the best for the backbone's features.

From there on training changes features that already serve, instead of dragging them after a head that knows nothing.
"""

import numpy as np
import numpy.typing as npt
import torch

from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.tasks.objective import UNLABELLED
from manyeyes.adapt.training.pixels import Photos
from manyeyes.adapt.training.task import features
from manyeyes.experts.folds import Rows
from manyeyes.experts.softmax import SoftmaxRegression

# Factor on the head's logits where training goes on from there. A head that is sure of all its few photos leaves no
# loss that would change the features (10 hand signs a class, 64 pixels, parallel adapters: 79% with a factor of 1, 84%
# with this one).
SURENESS = 0.1


def fit_head(
    bank: DomainBank, name: str, photos: Photos, rows: Rows, seed: int = 0, sureness: float = SURENESS
) -> None:
    """Let a domain's head be the softmax regression on its features as they are now, less sure of itself.

    Classes of which there are no photos among these rows keep a head that knows nothing; photos without a label are not
    looked at.
    """
    rows = rows[photos.labels[rows] != UNLABELLED]
    fit_head_to(bank, name, features(bank, name, photos, rows).numpy(), photos.labels[rows], seed, sureness)


def fit_head_to(
    bank: DomainBank,
    name: str,
    seen: npt.NDArray[np.float32],
    labels: Rows,
    seed: int = 0,
    sureness: float = SURENESS,
) -> None:
    """The same from features (n, D) that were looked at before."""
    fitted = SoftmaxRegression(random_state=seed).fit(seen, labels)
    head = bank[name].head
    weight, bias = torch.zeros_like(head.weight), torch.full_like(head.bias, float(fitted.intercept_.min()))
    weight[fitted.classes_] = torch.from_numpy(fitted.coef_).to(weight)
    bias[fitted.classes_] = torch.from_numpy(fitted.intercept_).to(bias)
    bank[name].set_head(sureness * weight, sureness * bias)
