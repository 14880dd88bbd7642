"""The embedding classifier that the caption of Table 2 of "All Together Now!" tells of.

All blocks are embedded in one space and their mean is classified: ``f = softmax(U m + b)`` of
``m = 1/K Σ_k ReLU(W_k φ_k)``. There are no experts and nothing is weighed; the section on gates reads eq. 6 otherwise
(the ``embedding`` gate).
"""

from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax
from sklearn.utils import assert_all_finite
from torch import Tensor, nn

from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.lesson import Lesson
from manyeyes.features.table import FeatureTable
from manyeyes.fusion import gradient
from manyeyes.fusion.fusion import Fusion
from manyeyes.fusion.gradient import Standardised
from manyeyes.gates.embedding import COORDINATES


class EmbeddingClassifier(Fusion):
    """Softmax regression on the mean of the blocks' embeddings, all trained together by the log loss.

    Parameters
    ----------
    class_weight, random_state : as in MixtureOfExperts.

    Attributes (beside those of every fusion)
    ----------
    maps_, offsets_ : for each block (100, D) and (100,), for raw columns.
    coef_, intercept_ : (C, 100) and (C,).
    epochs_ : for how many epochs it was trained.
    """

    def __init__(self, class_weight: ClassWeight = None, random_state: int = 0) -> None:
        self.class_weight = class_weight
        self.random_state = random_state

    def _fit(self, lesson: Lesson) -> FloatArray:
        rows, held = gradient.split_off(lesson)
        blocks = [Standardised.of(lesson.table.blocks[name]) for name in self.blocks_]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            model = _Model(blocks, len(lesson.classes))
        decayed, free = [*model.maps.parameters(), model.classify.weight], [model.classify.bias]
        groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": gradient.WEIGHT_DECAY}, {"params": free}]
        optimiser = torch.optim.Adam(groups, lr=gradient.LEARNING_RATE, fused=True)
        self.epochs_ = gradient.train(model, optimiser, lesson, rows, held)
        maps = [weight.detach().double().numpy() for weight in model.maps.parameters()]
        self.maps_ = [map_ / block.scale for map_, block in zip(maps, blocks, strict=True)]
        self.offsets_ = [-map_ @ block.mean for map_, block in zip(self.maps_, blocks, strict=True)]
        self.coef_ = model.classify.weight.detach().double().numpy()
        self.intercept_ = model.classify.bias.detach().double().numpy()
        return gradient.known_of(held, lesson, self._log_proba)

    def _keep_blocks(self, kept: list[int]) -> bool:
        self.maps_, self.offsets_ = [self.maps_[k] for k in kept], [self.offsets_[k] for k in kept]
        return True

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        blocks = [table.blocks[name] for name in self.blocks_]
        for block in blocks:
            assert_all_finite(block)
        embedded = [
            np.maximum(block @ map_.T + offset, 0)
            for block, map_, offset in zip(blocks, self.maps_, self.offsets_, strict=True)
        ]
        log_proba: FloatArray = log_softmax(np.mean(embedded, axis=0) @ self.coef_.T + self.intercept_, axis=1)
        return log_proba


class _Model(nn.Module):
    """Row numbers (B,) → log-probabilities (B, C)."""

    def __init__(self, blocks: list[Standardised], classes: int) -> None:
        super().__init__()
        self._blocks = blocks
        self.maps = nn.ModuleList(nn.Linear(len(block.mean), COORDINATES, bias=False) for block in blocks)
        self.classify = nn.Linear(COORDINATES, classes)

    def forward(self, rows: Tensor) -> Tensor:
        embedded = [torch.relu(map_(block.rows[rows])) for map_, block in zip(self.maps, self._blocks, strict=True)]
        return torch.log_softmax(self.classify(torch.stack(embedded).mean(dim=0)), dim=1)
