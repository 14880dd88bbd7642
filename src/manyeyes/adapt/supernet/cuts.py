"""A path in a network: its layers with the weights that the path leaves them, for a while or for good.

Nothing is masked: layers compute with what is left, so that a small path costs what a small network does. Gradients of
what is left reach the whole weights.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from manyeyes.adapt.adapters import Adapter
from manyeyes.adapt.domain import NOTHING
from manyeyes.adapt.maps import LowRank, PerChannel
from manyeyes.adapt.supernet.blocks import Block
from manyeyes.adapt.supernet.space import Path, PathSpace
from manyeyes.backbones.nets.smaller import Cut, Skipped, attributes_left, put_cut, tensors_left
from manyeyes.backbones.nets.timm_net import TimmHeaded

# Which tensors are to be put in whose place: the table, the name, and the tensor.
Puts = list[tuple[dict[str, Any], str, Any]]


@dataclass
class Change:
    """All by which a network becomes a path of itself: modules to leave out, cuts by the names of the layers, ranks of
    adapters by their sites, and the side of the photos in pixels, None for what they come with."""

    skipped: list[str] = field(default_factory=list)
    cuts: dict[str, Cut] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    size: int | None = None


def change_of(
    network: nn.Module, blocks: tuple[Block, ...], space: PathSpace, path: Path, ranking: Mapping[str, Tensor]
) -> Change:
    """What a path changes of the blocks. ``ranking`` : of each hidden layer's first maker, its channels from the most
    to the least important (:func:`rank_channels`)."""
    change, choices = Change(), space.choices(path)
    for block in blocks:
        if choices.get((block.name, "keep"), 1.0) == 0.0:
            change.skipped.append(block.name)
            continue
        share = choices.get((block.name, "width"), 1.0)
        for hidden in block.hidden if share < 1 else ():
            order = ranking[hidden.makers[0]]
            kept = order[: max(round(share * len(order)), 1)].sort().values.to(next(network.parameters()).device)
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
def on_path(network: nn.Module, change: Change, adapters: Mapping[str, Adapter] = NOTHING) -> Iterator[None]:
    """The network, with its adapters by their sites, is that path for the time of a block, and then as it was.

    Meanwhile a source head, which knows other features, says nothing.
    """
    undo: Puts = []

    def put(puts: Puts) -> None:
        for where, name, value in puts:
            undo.append((where, name, where[name]))
            where[name] = value

    handles = [] if change.size is None else [_looks_smaller(network, change.size)]
    try:
        for name in change.skipped:
            holder, _, place = name.rpartition(".")
            put([(network.get_submodule(holder)._modules, place, Skipped())])
        if isinstance(network, TimmHeaded):
            put([(network.__dict__, "has_head", False)])
        for name, cut in change.cuts.items():
            layer = network.get_submodule(name)
            for key, tensor in tensors_left(layer, cut).items():
                put([(layer._parameters if key in layer._parameters else layer._buffers, key, tensor)])
            put([(layer.__dict__, key, value) for key, value in attributes_left(layer, cut).items()])
        for site, adapter in adapters.items():
            put(adapter_left(adapter, change.cuts.get(site, Cut()), change.ranks.get(site)))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for where, name, value in reversed(undo):
            where[name] = value


def extracted(network: nn.Module, change: Change) -> nn.Module:
    """The path as a network of its own, to be given photos of the path's size."""
    made = copy.deepcopy(network)
    if isinstance(made, TimmHeaded):
        made.has_head = False
    for name in change.skipped:
        holder, _, place = name.rpartition(".")
        made.get_submodule(holder)._modules[place] = Skipped()
    for name, cut in change.cuts.items():
        put_cut(made.get_submodule(name), cut)
    return made


def _looks_smaller(network: nn.Module, size: int) -> Any:
    def resize(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        pixels = interpolate(given[0].float(), (size, size), mode="bilinear", antialias=True)
        return (pixels.to(given[0].dtype).contiguous(memory_format=torch.channels_last),)

    return network.register_forward_pre_hook(resize)


def adapter_left(adapter: Adapter, cut: Cut, rank: int | None) -> Puts:
    """What is left of an adapter whose layer is cut. Of rank 0 it is still there, and does nothing."""
    map_ = adapter.map
    if isinstance(map_, LowRank):
        beta, gamma = _rows(map_.beta, cut.rows), _columns(map_.gamma, cut.columns)
        if rank is not None:
            beta, gamma = beta[:, : max(rank, 1)] * min(rank, 1), gamma[: max(rank, 1)]
        return [(map_._parameters, "beta", beta), (map_._parameters, "gamma", gamma)]
    alpha = _rows(map_.get_parameter("alpha"), cut.rows)
    return [(map_._parameters, "alpha", alpha if isinstance(map_, PerChannel) else _columns(alpha, cut.columns))]


def _rows(tensor: Tensor, kept: Tensor | None) -> Tensor:
    return tensor if kept is None else tensor.index_select(0, kept)


def _columns(tensor: Tensor, kept: Tensor | None) -> Tensor:
    return tensor if kept is None else tensor.index_select(1, kept)


def _conv(network: nn.Module, name: str) -> nn.Conv2d:
    layer = network.get_submodule(name)
    assert isinstance(layer, nn.Conv2d)
    return layer
