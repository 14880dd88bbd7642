"""The embedding gate of "All Together Now!" (eq. 6): ``a = softmax(m(ReLU([W_1 φ_1(x) … W_K φ_K(x)])))``.

Each ``W_k`` takes block k to 100 coordinates. For ``a`` to have K entries, ``m`` must be the mean over the coordinates.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from manyeyes.features.table import FeatureTable
from manyeyes.gates.gate import Gate

COORDINATES = 100


class EmbeddingGate(Gate):
    """Sees the standardised blocks."""

    mean: Tensor
    scale: Tensor

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__(widths)
        self.register_buffer("mean", torch.zeros(sum(self.widths)))
        self.register_buffer("scale", torch.ones(sum(self.widths)))
        self.maps = nn.ModuleList(nn.Linear(width, COORDINATES, bias=False) for width in self.widths)
        for parameter, width in zip(self.maps.parameters(), self.widths, strict=True):
            # All-zero maps would sit where ReLU has no slope; this small, every row is uniform to three digits.
            nn.init.normal_(parameter, std=1e-3 / width**0.5)

    def _state_over(self, kept: list[int]) -> dict[str, Tensor]:
        maps = [map_.detach() for map_ in self.maps.parameters()]
        own = {f"maps.{new}.weight": maps[old] for new, old in enumerate(kept)}
        for name, seen in (("mean", self.mean), ("scale", self.scale)):
            parts = torch.split(seen, self.widths)
            own[name] = torch.cat([parts[k] for k in kept])
        return own

    def standardise(self, table: FeatureTable) -> None:
        blocks = torch.from_numpy(table.concatenated()).float()
        self.mean = blocks.mean(dim=0)
        self.scale = blocks.std(dim=0, correction=0)
        self.scale[self.scale == 0] = 1.0

    def look(self, table: FeatureTable) -> Tensor:
        return (torch.from_numpy(table.concatenated()).float() - self.mean) / self.scale

    def with_columns(self, seen: Tensor, columns: Tensor, values: Tensor) -> Tensor:
        return seen.index_copy(1, columns, (values - self.mean[columns]) / self.scale[columns])

    def logits(self, seen: Tensor) -> Tensor:
        blocks = torch.split(seen, self.widths, dim=1)
        embedded = [torch.relu(map_(block)) for map_, block in zip(self.maps, blocks, strict=True)]
        return torch.stack(embedded, dim=2).mean(dim=1)
