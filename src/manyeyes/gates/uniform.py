"""Trust all alike: the mixture is then the plain mean of the experts."""

from typing import ClassVar

import torch
from torch import Tensor

from manyeyes.features.table import FeatureTable
from manyeyes.gates.gate import Gate


class UniformGate(Gate):
    """Sees nothing and learns nothing."""

    trainable: ClassVar[bool] = False

    def look(self, table: FeatureTable) -> Tensor:
        return torch.zeros(len(table), 1)

    def logits(self, seen: Tensor) -> Tensor:
        return torch.zeros(len(seen), len(self.widths))
