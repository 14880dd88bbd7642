"""A supernet out of any pre-trained network: the network, the space of paths through it, and what each path costs."""

import dataclasses
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from manyeyes.adapt.fold import write_backbone
from manyeyes.adapt.supernet.blocks import find_blocks
from manyeyes.adapt.supernet.cuts import Change, change_of, extracted, on_path, rank_channels
from manyeyes.adapt.supernet.space import Path, PathSpace
from manyeyes.backbones.card import Card
from manyeyes.backbones.nets.whole import WholeNet


@dataclass(frozen=True)
class Cost:
    """macs : multiply-accumulates for one photo. parameters : of all that the features depend on."""

    macs: int
    parameters: int


class Supernet:
    """``whole`` looks at photos of ``size`` pixels; every path of ``space`` does so with a part of its weights.

    Raises AdaptError for a network of which nothing can be left out.
    """

    def __init__(self, whole: WholeNet, size: int) -> None:
        self.whole, self.size = whole.eval(), size
        self.blocks = find_blocks(whole, size)
        self.space = PathSpace.of(self.blocks)
        # By the weights that the network came with: channels that one path has, all wider paths have.
        self._ranks = rank_channels(whole.network, self.blocks)
        self._costs: dict[Path, Cost] = {}

    @contextmanager
    def on(self, path: Path) -> Iterator[WholeNet]:
        """The network is that path for the time of a block. Raises AdaptError for a path of another network."""
        with on_path(self.whole.network, self._change(path)):
            yield self.whole

    def extract(self, path: Path) -> nn.Module:
        """The path as a network of its own, which sees what the supernet sees on it."""
        return extracted(self.whole.network, self._change(path))

    def write(self, path: Path, card: Card, folder: pathlib.Path) -> Card:
        """Write the path as ``folder``, which ``local:FOLDER`` then names in every zoo. Returns its card.

        ``card`` is that of the backbone. Raises AdaptError when the folder is not free.
        """
        state = self.extract(path).state_dict()
        return write_backbone(state, dataclasses.replace(card, macs=self.cost(path).macs / 1e9), folder)

    def cost(self, path: Path) -> Cost:
        """Counted on a photo, once for each path."""
        if path not in self._costs:
            with self.on(path), FlopCounterMode(display=False) as counter, torch.no_grad():
                was_training = self.whole.training
                self.whole.eval()
                self.whole(torch.zeros(1, self.size, self.size, 3, dtype=torch.uint8, device=self.whole.scale.device))
                self.whole.train(was_training)
                parameters = sum(one.numel() for one in self.whole.network.parameters())
            self._costs[path] = Cost(counter.get_total_flops() // 2, parameters)
        return self._costs[path]

    def _change(self, path: Path) -> Change:
        return change_of(self.whole.network, self.blocks, self.space, path, self._ranks)
