"""The convolutions of VGG-16, out of a pickled Flax tree."""

from pathlib import Path

from torch import Tensor, nn

from manyeyes.backbones.card import Card
from manyeyes.backbones.nets.foreign import kernel, tensor
from manyeyes.backbones.nets.pickled import read_pickled_arrays
from manyeyes.backbones.nets.torch_net import TorchNet
from manyeyes.backbones.nets.whole import Headed

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
TREE = "VGG16_0"


class FlaxVgg(TorchNet):
    def build(self, card: Card) -> Headed:
        return VggConvolutions()

    def convert(self, fetched: Path, card: Card) -> dict[str, Tensor]:
        arrays = read_pickled_arrays(fetched)
        ours = [name for name, module in VggConvolutions().named_modules() if isinstance(module, nn.Conv2d)]
        state = {}
        for number, name in enumerate(ours):
            state[f"{name}.weight"] = kernel(arrays[f"{TREE}/Conv_{number}/kernel"])
            state[f"{name}.bias"] = tensor(arrays[f"{TREE}/Conv_{number}/bias"])
        return state


class VggConvolutions(Headed):
    """All five stages of VGG-16; the features are the mean over the last map."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for stage in STAGES:
            for outputs in stage:
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*layers)

    def forward(self, pixels: Tensor) -> tuple[Tensor, None]:
        return self.layers(pixels).mean(dim=(2, 3)), None
