"""A path in a network: its layers with the weights that the path leaves them, for a while or for good.

Nothing is masked: layers compute with what is left, so that a small path costs what a small network does. Gradients of
what is left reach the whole weights.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from manyeyes.adapt.supernet.blocks import Block
from manyeyes.adapt.supernet.space import Path, PathSpace
from manyeyes.backbones.nets.smaller import Cut, Skipped, attributes_left, put_cut, tensors_left


@dataclass
class Change:
    """All by which a network becomes a path of itself: blocks to leave out, and cuts by the names of the layers."""

    skipped: list[str] = field(default_factory=list)
    cuts: dict[str, Cut] = field(default_factory=dict)


def change_of(
    network: nn.Module, blocks: tuple[Block, ...], space: PathSpace, path: Path, ranks: dict[str, Tensor]
) -> Change:
    """What a path changes. ``ranks`` : of each hidden layer's first maker, its channels from the most to the least
    important (:func:`rank_channels`)."""
    change, choices = Change(), space.choices(path)
    for block in blocks:
        if choices.get((block.name, "keep"), 1.0) == 0.0:
            change.skipped.append(block.name)
            continue
        share = choices.get((block.name, "width"), 1.0)
        for hidden in block.hidden if share < 1 else ():
            order = ranks[hidden.makers[0]]
            kept = order[: max(round(share * len(order)), 1)].sort().values
            for name in (*hidden.makers, *hidden.along):
                change.cuts.setdefault(name, Cut()).rows = kept
            for name in hidden.takers:
                change.cuts.setdefault(name, Cut()).columns = kept
        side = int(choices.get((block.name, "kernel"), 0.0))
        for name in block.depthwise if side else ():
            if _conv(network, name).kernel_size[0] > side:
                change.cuts.setdefault(name, Cut()).kernel = side
    return change


def rank_channels(network: nn.Module, blocks: tuple[Block, ...]) -> dict[str, Tensor]:
    """The channels of every hidden layer, by how much weight the layers give them that take them: by the name of the
    first layer that makes them."""
    ranks = {}
    for hidden in (one for block in blocks for one in block.hidden):
        takers = [network.get_parameter(f"{name}.weight").detach() for name in hidden.takers]
        weight = torch.stack([taker.abs().transpose(0, 1).flatten(1).sum(dim=1) for taker in takers]).sum(dim=0)
        ranks[hidden.makers[0]] = weight.argsort(descending=True, stable=True)
    return ranks


@contextmanager
def on_path(network: nn.Module, change: Change) -> Iterator[None]:
    """The network is that path for the time of a block, and afterwards as it was."""
    undo: list[tuple[dict[str, Any], str, Any]] = []

    def put(where: dict[str, Any], name: str, value: Any) -> None:
        undo.append((where, name, where[name]))
        where[name] = value

    try:
        for name in change.skipped:
            holder, _, place = name.rpartition(".")
            put(network.get_submodule(holder)._modules, place, Skipped())
        for name, cut in change.cuts.items():
            layer = network.get_submodule(name)
            for key, tensor in tensors_left(layer, cut).items():
                put(layer._parameters if key in layer._parameters else layer._buffers, key, tensor)
            for key, value in attributes_left(layer, cut).items():
                put(layer.__dict__, key, value)
        yield
    finally:
        for where, name, value in reversed(undo):
            where[name] = value


def extracted(network: nn.Module, change: Change) -> nn.Module:
    """The path as a network of its own."""
    made = copy.deepcopy(network)
    for name in change.skipped:
        holder, _, place = name.rpartition(".")
        made.get_submodule(holder)._modules[place] = Skipped()
    for name, cut in change.cuts.items():
        put_cut(made.get_submodule(name), cut)
    return made


def _conv(network: nn.Module, name: str) -> nn.Conv2d:
    layer = network.get_submodule(name)
    assert isinstance(layer, nn.Conv2d)
    return layer
