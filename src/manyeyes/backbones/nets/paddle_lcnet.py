"""PP-LCNetV2 (base), out of a Paddle inference model whose depthwise kernels were merged into one for each layer."""

from pathlib import Path

import numpy as np
from torch import Tensor, nn

from manyeyes.backbones.card import Card
from manyeyes.backbones.nets.foreign import NamedArrays, batch_norm, tensor
from manyeyes.backbones.nets.paddle import read_paddle
from manyeyes.backbones.nets.torch_net import TorchNet
from manyeyes.backbones.nets.whole import Headed
from manyeyes.errors import CardError

DROPOUT = 0.2


class PaddleLcNet(TorchNet):
    """A folder with Paddle's files. Paddle numbers layers as they were made, which is the order of this network's."""

    def build(self, card: Card) -> Headed:
        return LcNetV2()

    def convert(self, fetched: Path, card: Card) -> dict[str, Tensor]:
        arrays = read_paddle(fetched)
        network = dict(LcNetV2().named_modules())
        state: dict[str, Tensor] = {}
        for theirs, ours in _paired(arrays, "conv2d_", network, nn.Conv2d):
            state[f"{ours}.weight"] = tensor(arrays[f"{theirs}.w_0"])
            if network[ours].bias is not None:
                state[f"{ours}.bias"] = tensor(arrays[f"{theirs}.b_0"])
        for theirs, ours in _paired(arrays, "batch_norm2d_", network, nn.BatchNorm2d):
            state |= batch_norm(ours, *(arrays[f"{theirs}.{part}"] for part in ("w_0", "b_0", "w_1", "w_2")))
        # This dropout left its values as they were in training, so it scales them down when it is used.
        state["head.weight"] = tensor(np.transpose(arrays["linear_0.w_0"]) * np.float32(1 - DROPOUT))
        state["head.bias"] = tensor(arrays["linear_0.b_0"])
        return state


def _paired(
    arrays: NamedArrays, prefix: str, network: dict[str, nn.Module], kind: type[nn.Module]
) -> list[tuple[str, str]]:
    theirs = [name.removesuffix(".w_0") for name in arrays if name.startswith(prefix) and name.endswith(".w_0")]
    theirs.sort(key=lambda name: int(name.removeprefix(prefix)))
    ours = [name for name, module in network.items() if isinstance(module, kind)]
    if len(theirs) != len(ours):
        raise CardError(f"PP-LCNetV2 has {len(ours)} layers of kind {kind.__name__}; the file has {len(theirs)}")
    return list(zip(theirs, ours, strict=True))


class LcNetV2(Headed):
    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(
            _convolution(3, 32, 3, stride=2),
            *_separable(32, 64, stride=1),
            *_separable(64, 128, stride=2),
            *_separable(128, 128, stride=1),
            *_separable(128, 256, stride=2),
            *_separable(256, 256, stride=1),
        )
        self.middle = nn.Sequential(_bottleneck(256, stride=2), *(_bottleneck(512, stride=1) for _ in range(5)))
        self.halve = nn.Sequential(*_wide_depthwise(512, stride=2), _convolution(512, 1024, 1))
        self.last = nn.Sequential(*_wide_depthwise(1024, stride=1), _convolution(1024, 1024, 1))
        self.widen = nn.Conv2d(1024, 1280, 1, bias=False)
        self.head = nn.Linear(1280, 1000)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.halve(self.middle(self.early(pixels)))
        maps = maps + self.last(maps)
        features = self.widen(maps.mean(dim=(2, 3), keepdim=True)).relu().flatten(1)
        return features, self.head(features)


class SqueezeAndExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.excite = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        squeezed = self.squeeze(maps.mean(dim=(2, 3), keepdim=True)).relu()
        scale: Tensor = self.excite(squeezed).sigmoid()
        return maps * scale


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _separable(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [_convolution(inputs, inputs, 3, stride, groups=inputs), _convolution(inputs, outputs, 1)]


def _wide_depthwise(channels: int, stride: int) -> list[nn.Module]:
    """Merged from several kernels with their normalisations, of which a bias is left."""
    return [nn.Conv2d(channels, channels, 5, stride, 2, groups=channels), nn.ReLU(inplace=True)]


def _bottleneck(inputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *_wide_depthwise(inputs, stride),
        SqueezeAndExcite(inputs),
        _convolution(inputs, 256, 1),
        _convolution(256, 512, 1),
    )
