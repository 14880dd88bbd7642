"""A network with all that stands around it: one graph from a framed photo's bytes to what is kept of them.

Engines run it as it is, or translate it as a whole; so normalisation and the taps cost no pass of their own.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from manyeyes.backbones.card import Preprocessing
from manyeyes.backbones.nets import FINAL, SECOND_ORDER, Look
from manyeyes.backbones.second_order.pooling import block_of_moments
from manyeyes.backbones.second_order.tap import SecondOrderTap

FEATURES, LOGITS, MOMENTS = "features", "logits", "moments"


class Headed(nn.Module, ABC):
    """A network whose forward gives features (B, D) and, when it has a source head, logits (B, L)."""

    @abstractmethod
    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features and logits of normalised pixels (B, 3, S, S)."""


class WholeNet(nn.Module):
    """Photos framed for the card, (B, S, S, 3) uint8 RGB → named outputs: features (B, D), logits (B, L) of a net that
    has a source head, and the moments (B, 64, 64) that the second-order tap reads, when there is one."""

    def __init__(self, network: Headed, preprocessing: Preprocessing, tap: SecondOrderTap | None = None) -> None:
        super().__init__()
        self.network = network
        self.tap = tap
        self._reverse = preprocessing.channels == "bgr"
        # One multiplication and one addition: x / 255 / std - mean / std.
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", (1 / (255 * std)).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", (-mean / std).view(3, 1, 1), persistent=False)

    def forward(self, framed: Tensor) -> dict[str, Tensor]:
        pixels = framed.permute(0, 3, 1, 2)
        if self._reverse:
            pixels = pixels.flip(1)
        # Normalised in float32 whatever the network computes in: 256 grey levels want more than bfloat16's 8 bits.
        normalised = pixels.float() * self.scale + self.shift
        features, logits = self.network(normalised.to(self._dtype, memory_format=torch.channels_last))
        outputs = {FEATURES: features}
        if logits is not None:
            outputs[LOGITS] = logits
        if self.tap is not None:
            outputs[MOMENTS] = self.tap.read()
        return outputs

    def ready(self, dtype: torch.dtype, device: str = "cpu") -> "WholeNet":
        """Move everything to the device, and cast the network's weights once; casting them at every call, as autocast
        does, costs more than it gains. What stands around the network stays in float32."""
        self.to(device)
        self.network.to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.tap is not None:
            self.tap.to(torch.device(device))
        return self

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.network.parameters()).dtype


def look_of(outputs: dict[str, Tensor]) -> Look:
    """What the outputs say, as arrays in float32."""
    blocks = {FINAL: _to_numpy(outputs[FEATURES])}
    if MOMENTS in outputs:
        # On the processor's cores: a GPU takes the roots of many small matrices one by one.
        blocks[SECOND_ORDER] = _to_numpy(block_of_moments(outputs[MOMENTS].cpu()))
    return Look(blocks, _to_numpy(outputs[LOGITS]) if LOGITS in outputs else None)


def _to_numpy(tensor: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    numbers: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = tensor.float().cpu().numpy()
    return numbers
