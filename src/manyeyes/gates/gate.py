"""What every gate is: a small torch module that starts out weighing all experts alike."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from manyeyes.features.table import FeatureTable


class Gate(nn.Module, ABC):
    """Weighs the K blocks of a feature table, in the table's order.

    ``widths`` are the blocks' numbers of columns: with these and the ``state_dict`` a gate is whole. A new gate equals
    the uniform gate.
    """

    # Whether there is anything to learn.
    trainable: ClassVar[bool] = True
    # Adam's step size: how far a weight moves in one step, whatever its gradient.
    learning_rate: ClassVar[float] = 3e-4

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = [int(width) for width in widths]

    @classmethod
    def for_table(cls, table: FeatureTable) -> Self:
        """A new gate for tables like this one, which knows the table's means and scales if it uses them."""
        gate = cls([block.shape[1] for block in table.blocks.values()])
        gate.standardise(table)
        return gate

    def over(self, kept: Sequence[int]) -> Self:
        """The same gate where only these of the K experts are there: it weighs them against each other as before."""
        gate = type(self)([self.widths[k] for k in kept])
        gate.load_state_dict(self._state_over(list(kept)))
        return gate.eval()

    def _state_over(self, kept: list[int]) -> dict[str, Tensor]:
        """Of the gate over these experts: its own, where nothing in it is about one expert."""
        return self.state_dict()

    def standardise(self, table: FeatureTable) -> None:
        """Keep in buffers what is needed to bring these photos' inputs to mean 0 and scale 1."""

    @abstractmethod
    def look(self, table: FeatureTable) -> Tensor:
        """What the gate sees of n photos, as one tensor of n rows: taken once, and cut into batches in training."""

    def with_columns(self, seen: Tensor, columns: Tensor, values: Tensor) -> Tensor:
        """What it would have seen had these columns of the blocks, side by side, held these values, (B, columns).

        Training goes through this into what the values were made from. A gate that sees no blocks sees the same.
        """
        return seen

    @abstractmethod
    def logits(self, seen: Tensor) -> Tensor:
        """Unnormalised log-weights of the experts: (B, K)."""

    def forward(self, seen: Tensor) -> Tensor:
        """Log-weights ``log a(x)``: (B, K), each row's exponentials summing to one."""
        return torch.log_softmax(self.logits(seen), dim=1)
