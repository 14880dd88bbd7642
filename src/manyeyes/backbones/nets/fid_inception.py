"""Inception-v3 as the Fréchet inception distance uses it: the first published weights, in TorchScript."""

from pathlib import Path

import torch
from torch import Tensor, nn

from manyeyes.backbones.card import Card
from manyeyes.backbones.nets.foreign import TENSORFLOW_EPSILON
from manyeyes.backbones.nets.torch_net import TorchNet
from manyeyes.backbones.nets.torchscript import read_torchscript
from manyeyes.backbones.nets.whole import Headed
from manyeyes.errors import CardError

Size = int | tuple[int, int]


class FidInception(TorchNet):
    """A TorchScript file of which only the tensors are used: they stand in the order of this network's own."""

    def build(self, card: Card) -> Headed:
        return Inception()

    def convert(self, fetched: Path, card: Card) -> dict[str, Tensor]:
        theirs = read_torchscript(fetched)
        ours = [name for name, module in Inception().named_modules() if isinstance(module, Convolution)]
        layers = [name.removesuffix(".weight") for name in theirs if name.endswith(".weight")]
        if len(layers) != len(ours):
            raise CardError(f"{fetched.name} has {len(layers)} convolutions, the Inception-v3 of FID has {len(ours)}")
        state = {}
        for layer, name in zip(layers, ours, strict=True):
            state[f"{name}.0.weight"] = theirs[f"{layer}.weight"]
            state[f"{name}.1.weight"] = torch.ones_like(theirs[f"{layer}.beta"])
            state[f"{name}.1.bias"] = theirs[f"{layer}.beta"]
            state[f"{name}.1.running_mean"] = theirs[f"{layer}.mean"]
            state[f"{name}.1.running_var"] = theirs[f"{layer}.var"]
        return state


class Inception(Headed):
    """Differs from later Inception-v3's in its pools: borders do not count, and the last block takes the maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Convolution(3, 32, 3, stride=2),
            Convolution(32, 32, 3),
            Convolution(32, 64, 3, padding=1),
            nn.MaxPool2d(3, stride=2),
            Convolution(64, 80, 1),
            Convolution(80, 192, 3),
            nn.MaxPool2d(3, stride=2),
            _mixed_35(192, 32),
            _mixed_35(256, 64),
            _mixed_35(288, 64),
            _halve_35(288),
            *(_mixed_17(768, width) for width in (128, 160, 160, 192)),
            _halve_17(768),
            _mixed_8(1280, _mean_pool()),
            _mixed_8(2048, nn.MaxPool2d(3, stride=1, padding=1)),
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor, None]:
        return self.layers(pixels).mean(dim=(2, 3)), None


class Convolution(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, size: Size, stride: int = 1, padding: Size = 0) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, size, stride, padding, bias=False),
            nn.BatchNorm2d(outputs, eps=TENSORFLOW_EPSILON),
            nn.ReLU(inplace=True),
        )


class Branches(nn.Module):
    """Several layers look at one map; their outputs are laid side by side."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([branch(maps) for branch in self.branches], dim=1)


def _mean_pool() -> nn.Module:
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def _row(inputs: int, outputs: int) -> Convolution:
    return Convolution(inputs, outputs, (1, 7), padding=(0, 3))


def _column(inputs: int, outputs: int) -> Convolution:
    return Convolution(inputs, outputs, (7, 1), padding=(3, 0))


def _mixed_35(inputs: int, pooled: int) -> Branches:
    return Branches(
        Convolution(inputs, 64, 1),
        nn.Sequential(Convolution(inputs, 48, 1), Convolution(48, 64, 5, padding=2)),
        nn.Sequential(Convolution(inputs, 64, 1), Convolution(64, 96, 3, padding=1), Convolution(96, 96, 3, padding=1)),
        nn.Sequential(_mean_pool(), Convolution(inputs, pooled, 1)),
    )


def _halve_35(inputs: int) -> Branches:
    return Branches(
        Convolution(inputs, 384, 3, stride=2),
        nn.Sequential(Convolution(inputs, 64, 1), Convolution(64, 96, 3, padding=1), Convolution(96, 96, 3, stride=2)),
        nn.MaxPool2d(3, stride=2),
    )


def _mixed_17(inputs: int, width: int) -> Branches:
    return Branches(
        Convolution(inputs, 192, 1),
        nn.Sequential(Convolution(inputs, width, 1), _row(width, width), _column(width, 192)),
        nn.Sequential(
            Convolution(inputs, width, 1),
            _column(width, width),
            _row(width, width),
            _column(width, width),
            _row(width, 192),
        ),
        nn.Sequential(_mean_pool(), Convolution(inputs, 192, 1)),
    )


def _halve_17(inputs: int) -> Branches:
    return Branches(
        nn.Sequential(Convolution(inputs, 192, 1), Convolution(192, 320, 3, stride=2)),
        nn.Sequential(
            Convolution(inputs, 192, 1), _row(192, 192), _column(192, 192), Convolution(192, 192, 3, stride=2)
        ),
        nn.MaxPool2d(3, stride=2),
    )


def _mixed_8(inputs: int, pool: nn.Module) -> Branches:
    return Branches(
        Convolution(inputs, 320, 1),
        nn.Sequential(Convolution(inputs, 384, 1), _row_and_column()),
        nn.Sequential(Convolution(inputs, 448, 1), Convolution(448, 384, 3, padding=1), _row_and_column()),
        nn.Sequential(pool, Convolution(inputs, 192, 1)),
    )


def _row_and_column() -> Branches:
    return Branches(
        Convolution(384, 384, (1, 3), padding=(0, 1)),
        Convolution(384, 384, (3, 1), padding=(1, 0)),
    )
