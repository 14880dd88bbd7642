"""The transfer module of "Gated Transfer Network" (Zhu, Xue, Newsam: ACCV 2018): pre-trained features, weighed.

``x' = g(x) ⊙ x`` with ``g(x) = σ(W₂ Drop(ReLU(W₁ x)))``, W₁ of D/16 rows, no biases, as in the authors' code.
"""

from collections.abc import Mapping
from typing import Literal, Self

import torch
from torch import Tensor, nn

GateStart = Literal["paper", "identity"]

REDUCTION, DROPOUT, LEAST = 16, 0.7, 8


class FeatureGate(nn.Module):
    """Features x, (B, D) → their weights g(x), (B, D).

    Parameters
    ----------
    dimension : D.
    hidden : units of the layer in between; None for the paper's D / 16 (8 at least).
    dropout, bias : of the layers.
    start : "paper": g in (0, 1), about a half at first; "identity": g = 2σ(·) in (0, 2), exactly 1 at first, so that
        training begins with the features as they came.
    static : g is one learned vector, the same for every photo.
    """

    def __init__(
        self,
        dimension: int,
        hidden: int | None = None,
        dropout: float = DROPOUT,
        bias: bool = False,
        start: GateStart = "paper",
        static: bool = False,
    ) -> None:
        super().__init__()
        # Kept with the weights: they mean nothing without it.
        self.most: Tensor
        self.register_buffer("most", torch.tensor(2.0 if start == "identity" else 1.0))
        self.dimension, self.is_static = dimension, static
        if static:
            self.logits = nn.Parameter(torch.zeros(dimension))
            return
        hidden = hidden or units(dimension)
        last = nn.Linear(hidden, dimension, bias=bias)
        if start == "identity":
            nn.init.zeros_(last.weight)
            if bias:
                nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(dimension, hidden, bias=bias), nn.ReLU(), nn.Dropout(dropout), last)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The gate whose state this is; it drops nothing. Raises KeyError, ValueError or RuntimeError for any other."""
        if "logits" in tensors:
            gate = cls(len(tensors["logits"]), static=True)
        else:
            hidden, dimension = tensors["layers.0.weight"].shape
            gate = cls(dimension, hidden, dropout=0.0, bias="layers.0.bias" in tensors)
        gate.load_state_dict(dict(tensors))
        return gate

    def forward(self, x: Tensor) -> Tensor:
        logits = self.logits.expand_as(x) if self.is_static else self.layers(x)
        return self.most * torch.sigmoid(logits)


def units(dimension: int, reduction: int = REDUCTION) -> int:
    """Of the layer in between, of a gate for D features."""
    return max(dimension // reduction, LEAST)
