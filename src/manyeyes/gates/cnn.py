"""The thumbnail gate of "All Together Now!" (eq. 5): ``a(x) = softmax(CNN(R(x)))``, R a resize to 32 or 64 pixels.

Two 3 × 3 convolutions of 32 and 64 filters, as in section 5; what the paper leaves open (padding, pooling, the last
layer) is: conv(pad 1) – ReLU – pool 2 – conv(pad 1) – ReLU – pool 2 – flatten – linear to K.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from manyeyes.features.table import FeatureTable
from manyeyes.gates.gate import Gate


def _has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself: training then takes half the time, or less."""
    return bool(torch.cpu._is_avx512_bf16_supported())


class CnnGate(Gate):
    """Sees the photo only as a thumbnail, whatever the backbones see: it could choose before any of them has run."""

    # Pixels of a thumbnail's side.
    side: ClassVar[int]

    mean: Tensor
    scale: Tensor

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__(widths)
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("scale", torch.ones(1, 3, 1, 1))
        self.network = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.weigh = nn.Linear(64 * (self.side // 4) ** 2, len(self.widths))
        nn.init.zeros_(self.weigh.weight)
        nn.init.zeros_(self.weigh.bias)

    def _state_over(self, kept: list[int]) -> dict[str, Tensor]:
        own = {f"weigh.{name}": tensor.detach()[kept] for name, tensor in self.weigh.named_parameters()}
        return self.state_dict() | own

    def standardise(self, table: FeatureTable) -> None:
        scale, self.mean = torch.std_mean(self._resized(table), dim=(0, 2, 3), keepdim=True, correction=0)
        self.scale = scale.clamp(min=1e-3)

    def look(self, table: FeatureTable) -> Tensor:
        return ((self._resized(table) - self.mean) / self.scale).contiguous(memory_format=torch.channels_last)

    def logits(self, seen: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training and _has_fast_bfloat16()):
            weights: Tensor = self.weigh(self.network(seen))
        return weights.float()

    def _resized(self, table: FeatureTable) -> Tensor:
        """R(x): thumbnails in [0, 1], (n, 3, side, side)."""
        if table.thumbnails is None:
            raise ValueError("the cnn gate looks at thumbnails, and this feature table has none: choose another gate")
        pixels = torch.from_numpy(table.thumbnails).permute(0, 3, 1, 2)
        step, rest = divmod(pixels.shape[-1], self.side)
        if rest:
            raise ValueError(f"no {self.side} px thumbnail can be made from {pixels.shape[-1]} px")
        return torch.nn.functional.avg_pool2d(pixels.float() / 255, step)


class CnnGate32(CnnGate):
    """MoE-CNN(32) of the paper."""

    side = 32


class CnnGate64(CnnGate):
    """MoE-CNN(64) of the paper."""

    side = 64
