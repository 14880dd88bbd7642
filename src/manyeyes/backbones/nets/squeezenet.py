"""SqueezeNet 1.1, out of a pickle of arrays under the names of its first Keras port."""

from pathlib import Path

import torch
from torch import Tensor, nn

from manyeyes.backbones.card import Card
from manyeyes.backbones.nets.foreign import kernel, tensor
from manyeyes.backbones.nets.pickled import read_pickled_arrays
from manyeyes.backbones.nets.torch_net import TorchNet
from manyeyes.backbones.nets.whole import Headed


class PickledSqueezeNet(TorchNet):
    def build(self, card: Card) -> Headed:
        return SqueezeNet()

    def convert(self, fetched: Path, card: Card) -> dict[str, Tensor]:
        arrays = read_pickled_arrays(fetched)
        state = {}
        for name, module in SqueezeNet().named_modules():
            if isinstance(module, nn.Conv2d):
                theirs = name.replace(".", "/")
                state[f"{name}.weight"] = kernel(arrays[f"{theirs}/0"])
                state[f"{name}.bias"] = tensor(arrays[f"{theirs}/1"])
        return state


class Fire(nn.Module):
    """Squeeze to a few channels, then expand with 1 × 1 and 3 × 3 kernels side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        squeezed = self.squeeze1x1(maps).relu()
        return torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], dim=1).relu()


class SqueezeNet(Headed):
    """The head is a convolution whose maps are averaged after a ReLU, so the features stand before that convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2)
        self.fire2, self.fire3 = Fire(64, 16, 64), Fire(128, 16, 64)
        self.fire4, self.fire5 = Fire(128, 32, 128), Fire(256, 32, 128)
        self.fire6, self.fire7 = Fire(256, 48, 192), Fire(384, 48, 192)
        self.fire8, self.fire9 = Fire(384, 64, 256), Fire(512, 64, 256)
        self.conv10 = nn.Conv2d(512, 1000, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.pool(self.conv1(pixels).relu())
        maps = self.pool(self.fire3(self.fire2(maps)))
        maps = self.pool(self.fire5(self.fire4(maps)))
        maps = self.fire9(self.fire8(self.fire7(self.fire6(maps))))
        return maps.mean(dim=(2, 3)), self.conv10(maps).mean(dim=(2, 3))
