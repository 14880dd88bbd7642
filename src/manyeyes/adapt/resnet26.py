"""The paper's ResNet-26: 25 convolutions of 3×3 in three stages of 64, 128 and 256 channels, for photos of 64 pixels.

As the authors' published code has it: no max-pool, shortcuts that halve by averaging and fill up with zero channels.
"""

import itertools

import torch
from torch import Tensor, nn

from manyeyes.backbones.nets.whole import Headed

WIDTHS, BLOCKS, STEM = (64, 128, 256), 4, 32
DIMENSION = WIDTHS[-1]


class ResNet26(Headed):
    """Normalised pixels (B, 3, S, S) → features (B, 256), and logits (B, L) when ``labels`` L are given."""

    def __init__(self, labels: int = 0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(STEM)
        widths = [STEM, *(width for width in WIDTHS for _ in range(BLOCKS))]
        pairs = itertools.pairwise(widths)
        self.blocks = nn.Sequential(
            *(Block(given, made, halves=index % BLOCKS == 0) for index, (given, made) in enumerate(pairs))
        )
        self.norm = nn.BatchNorm2d(DIMENSION)
        self.head = nn.Linear(DIMENSION, labels) if labels else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        seen = torch.relu(self.norm(self.blocks(self.stem_norm(self.stem(pixels)))))
        features = seen.mean(dim=(2, 3))
        return features, None if self.head is None else self.head(features)


class Block(nn.Module):
    """Two convolutions and a shortcut. One that ``halves`` the sides fills the missing channels with zeros."""

    def __init__(self, given: int, made: int, halves: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, made, 3, stride=2 if halves else 1, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(made)
        self.conv2 = nn.Conv2d(made, made, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(made)
        self.shortcut = nn.AvgPool2d(2) if halves else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        short = self.shortcut(x)
        missing = y.shape[1] - short.shape[1]
        return torch.relu(y + nn.functional.pad(short, (0, 0, 0, 0, 0, missing)))
