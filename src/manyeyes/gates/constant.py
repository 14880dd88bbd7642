"""Trust each expert the same on every photo, but not all experts alike: learned weights."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from manyeyes.features.table import FeatureTable
from manyeyes.gates.gate import Gate


class ConstantGate(Gate):
    """Sees nothing; one learned log-weight an expert."""

    # K numbers that may have to move by whole units; the nets' thousands of weights move by thousandths.
    learning_rate: ClassVar[float] = 1e-2

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__(widths)
        self.weights = nn.Parameter(torch.zeros(len(self.widths)))

    def _state_over(self, kept: list[int]) -> dict[str, Tensor]:
        return {"weights": self.weights.detach()[kept]}

    def look(self, table: FeatureTable) -> Tensor:
        return torch.zeros(len(table), 1)

    def logits(self, seen: Tensor) -> Tensor:
        return self.weights.expand(len(seen), -1)
