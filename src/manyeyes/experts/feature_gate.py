"""The transfer module of "Gated Transfer Network" (Zhu, Xue, Newsam: ACCV 2018): pre-trained features, weighed.

``x' = g(x) ⊙ x`` with ``g(x) = σ(W₂ Drop(ReLU(W₁ x)))``, W₁ of D/16 rows, no biases, as in the authors' code.
"""

from typing import Literal

import torch
from torch import Tensor, nn

GateStart = Literal["paper", "identity"]

REDUCTION, DROPOUT, LEAST = 16, 0.7, 8


class FeatureGate(nn.Module):
    """Features x, (B, D) → g ⊙ x, (B, D).

    Parameters
    ----------
    dimension : D.
    reduction, dropout, bias : of the layers in between: D / reduction units (8 at least).
    start : "paper": g in (0, 1), about a half at first; "identity": g = 2σ(·) in (0, 2), exactly 1 at first, so that
        training begins with the features as they came.
    static : g is one learned vector, the same for every photo.
    """

    def __init__(
        self,
        dimension: int,
        reduction: int = REDUCTION,
        dropout: float = DROPOUT,
        bias: bool = False,
        start: GateStart = "paper",
        static: bool = False,
    ) -> None:
        super().__init__()
        self.most = 2.0 if start == "identity" else 1.0
        if static:
            self.logits = nn.Parameter(torch.zeros(dimension))
            return
        hidden = max(dimension // reduction, LEAST)
        last = nn.Linear(hidden, dimension, bias=bias)
        if start == "identity":
            nn.init.zeros_(last.weight)
            if bias:
                nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(dimension, hidden, bias=bias), nn.ReLU(), nn.Dropout(dropout), last)

    def weights(self, x: Tensor) -> Tensor:
        """g(x): (B, D), or (D,) of a static gate."""
        logits = self.layers(x) if hasattr(self, "layers") else self.logits
        return self.most * torch.sigmoid(logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.weights(x) * x
