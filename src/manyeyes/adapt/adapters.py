"""Residual adapters: what a domain adds to a frozen convolution or linear layer.

Parallel (Rebuffi, Bilen, Vedaldi, CVPR 2018): y = w * x + α * x, a 1×1 convolution beside that of k×k. It is the same
as adding α to the centre of each filter, so it can be folded into the weights.

Series (NIPS 2017): y = u + α * norm(u) with u = w * x, a 1×1 convolution behind it.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from manyeyes.adapt.maps import ChannelMap, LowRank
from manyeyes.errors import AdaptError

SERIES_STAYS = "series adapters cannot be folded into weights: adapt with parallel or lowrank ones"

Layer = nn.Conv2d | nn.Linear


class Adapter(nn.Module, ABC):
    """Called with what the layer was given and what it made of that; gives what it should have made.

    Sums are written over what the layer made, or a copy of it: they then lie in memory as that did, and later layers
    compute with them as they did without adapters, to the last bit. ``dropout`` is the share of the channels that the
    adapter, and only it, does not see in training.
    """

    map: ChannelMap

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout

    @abstractmethod
    def forward(self, given: Tensor, made: Tensor) -> Tensor: ...

    @abstractmethod
    def fold_into(self, weight: Tensor) -> None:
        """Add to the layer's weight, in place, what makes it do the same without an adapter. Raises AdaptError where
        that cannot be."""

    def _dropped(self, x: Tensor) -> Tensor:
        if self.map.is_last:
            return functional.dropout(x, self.dropout, self.training)
        return functional.dropout2d(x, self.dropout, self.training)


class Beside(Adapter):
    """The parallel adapter of a layer: y + α x."""

    def __init__(self, layer: Layer, map_: ChannelMap, dropout: float = 0.0) -> None:
        super().__init__(dropout)
        self.map = map_
        self._centre = Centre(layer) if isinstance(layer, nn.Conv2d) else None

    def forward(self, given: Tensor, made: Tensor) -> Tensor:
        x = given if self._centre is None else self._centre.seen(given, made)
        return made.add_(self.map(self._dropped(x)))

    @torch.no_grad()
    def fold_into(self, weight: Tensor) -> None:
        matrix = self.map.matrix()
        if self._centre is None:
            weight += matrix
        else:
            weight[:, :, self._centre.row, self._centre.column] += matrix


class PatchesBeside(Adapter):
    """Beside a convolution whose filters have no centre: one of the same shape with r filters, then a map to C_out.

    Patches are cut so (ViT's and ConvNeXt's first layers), by kernels of an even size.
    """

    map: LowRank

    def __init__(self, layer: nn.Conv2d, map_: LowRank, dropout: float = 0.0) -> None:
        super().__init__(dropout)
        self.map = map_
        self._shape = layer.in_channels, *layer.kernel_size
        self._stride, self._padding, self._dilation = layer.stride, layer.padding, layer.dilation

    def forward(self, given: Tensor, made: Tensor) -> Tensor:
        filters = self.map.gamma.view(-1, *self._shape)
        x = self._dropped(given)
        down = functional.conv2d(x, filters, None, self._stride, self._padding, self._dilation)
        return made.add_(functional.conv2d(down, self.map.beta[:, :, None, None]))

    @torch.no_grad()
    def fold_into(self, weight: Tensor) -> None:
        weight += self.map.matrix().view_as(weight)


class Behind(Adapter):
    """The series adapter of a layer: u + α norm(u). The norm is of the batch, or of each row behind a linear layer."""

    def __init__(self, channels: int, map_: ChannelMap, dropout: float = 0.0) -> None:
        super().__init__(dropout)
        self.map = map_
        self.norm = nn.LayerNorm(channels) if map_.is_last else nn.BatchNorm2d(channels)

    def forward(self, given: Tensor, made: Tensor) -> Tensor:
        return made.clone().add_(self.map(self.norm(self._dropped(made))))

    def fold_into(self, weight: Tensor) -> None:
        # It is affine too once its norm no longer trains; but it adds a bias, which the network has no place for.
        raise AdaptError(SERIES_STAYS)


class Centre:
    """Which pixels lie under the centre of a convolution's filters, whatever its stride, dilation and padding."""

    def __init__(self, layer: nn.Conv2d) -> None:
        self.row, self.column = (size // 2 for size in layer.kernel_size)
        self._reach = self.row * layer.dilation[0], self.column * layer.dilation[1]
        self._kernel, self._stride, self._dilation = layer.kernel_size, layer.stride, layer.dilation
        # timm's "same" convolutions pad as TensorFlow does: as much as this photo's size wants, the odd pixel last.
        is_same = layer.padding == "same" or getattr(layer, "same_pad", type(layer).__name__ == "Conv2dSame")
        self._padding = None if is_same else (0, 0) if isinstance(layer.padding, str) else layer.padding

    def seen(self, given: Tensor, made: Tensor) -> Tensor:
        """The pixels of ``given`` (B, C, H, W) that belong to those of ``made`` (B, C', h, w): (B, C, h, w)."""
        top, left = (self._first(axis, given.shape[2 + axis]) for axis in (0, 1))
        if top < 0 or left < 0:
            given = functional.pad(given, (max(-left, 0), max(-left, 0), max(-top, 0), max(-top, 0)))
        rows, columns = made.shape[2:]
        return given[:, :, max(top, 0) :: self._stride[0], max(left, 0) :: self._stride[1]][:, :, :rows, :columns]

    def _first(self, axis: int, side: int) -> int:
        """Where the first filter's centre lies, in pixels from the first."""
        if self._padding is not None:
            return self._reach[axis] - self._padding[axis]
        stride, reach = self._stride[axis], (self._kernel[axis] - 1) * self._dilation[axis]
        padded = max((-(-side // stride) - 1) * stride + reach + 1 - side, 0)
        return self._reach[axis] - padded // 2
