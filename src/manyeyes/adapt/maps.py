"""α: a linear map of channels that is the same at every place of a feature map. What adapters are made of.

A map takes channels first, (B, C, H, W), or, where the layer is a linear one, last: (…, C).
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

# zero: the adapted network begins as the one it was made of. code: as the authors' published code draws all of its
# convolutions, N(0, 2 / C_out), so that training begins with adapters that disturb.
Start = Literal["zero", "code"]


class ChannelMap(nn.Module, ABC):
    """From C_in channels to C_out. ``is_last``: the channels are the last axis."""

    is_last = False

    @abstractmethod
    def matrix(self) -> Tensor:
        """The map as (C_out, C_in), each group's channels by themselves where there are groups."""


class Full(ChannelMap):
    """α has an entry for each pair of channels (of one group): the adapter of the papers."""

    def __init__(self, into: int, out_of: int, groups: int = 1, start: Start = "zero") -> None:
        super().__init__()
        self.groups = groups
        self.alpha = nn.Parameter(torch.zeros(into, out_of // groups))
        if start == "code":
            nn.init.normal_(self.alpha, std=(2 / into) ** 0.5)

    def matrix(self) -> Tensor:
        return self.alpha

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.alpha[:, :, None, None], groups=self.groups)


class LowRank(ChannelMap):
    """α = βγᵀ with β (C_out, r) and γᵀ (r, C_in). Beside a linear layer this is LoRA.

    β may be a parameter that several domains share (:mod:`manyeyes.adapt.compress`).
    """

    def __init__(self, into: int, out_of: int, rank: int, is_last: bool = False, start: Start = "zero") -> None:
        super().__init__()
        self.is_last = is_last
        self.beta = nn.Parameter(torch.zeros(into, rank))
        self.gamma = nn.Parameter(torch.empty(rank, out_of))
        # At zero both, neither would ever get a gradient.
        nn.init.kaiming_normal_(self.gamma, nonlinearity="linear")
        if start == "code":
            nn.init.normal_(self.beta, std=(2 / into) ** 0.5)

    def share(self, beta: nn.Parameter) -> None:
        """Use a β (C_out, r) that belongs to others too."""
        if beta.shape != self.beta.shape:
            raise ValueError(f"a β of {tuple(beta.shape)} where {tuple(self.beta.shape)} is wanted")
        self.beta = beta

    def matrix(self) -> Tensor:
        return self.beta @ self.gamma

    def forward(self, x: Tensor) -> Tensor:
        if self.is_last:
            return functional.linear(functional.linear(x, self.gamma), self.beta)
        return functional.conv2d(functional.conv2d(x, self.gamma[:, :, None, None]), self.beta[:, :, None, None])


class PerChannel(ChannelMap):
    """A diagonal α, for layers that do not mix channels."""

    def __init__(self, channels: int, start: Start = "zero") -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        if start == "code":
            nn.init.normal_(self.alpha, std=(2 / channels) ** 0.5)

    def matrix(self) -> Tensor:
        return self.alpha[:, None]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.alpha[:, None, None]
