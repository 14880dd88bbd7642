"""Where a network may end early: after an earlier stage, what came behind it left out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.supernet.blocks import Block
from manyeyes.adapt.supernet.cuts import Change, on_path
from manyeyes.backbones.nets.smaller import can_do_without
from manyeyes.backbones.nets.stages import is_norm


@dataclass(frozen=True)
class Exit:
    """stage : the module after which the features are read. dimension : how many there are. skipped : modules that are
    left out. blocks : those of the known blocks that are among them."""

    stage: str
    dimension: int
    skipped: tuple[str, ...]
    blocks: frozenset[str]


def find_exits(bank: DomainBank, blocks: Sequence[Block]) -> tuple[Exit, ...]:
    """The stages of the second half of a bank's backbone but for the last, from the last one on.

    A norm of as many channels stays: features of a transformer are normalised wherever they are read. None for a
    network that cannot do without what it has behind a stage.
    """
    network, stages = bank.network, bank.stages
    order = _order(bank)
    exits = []
    for stage in reversed(stages[len(stages) // 2 : -1]):
        channels = bank.dimensions[stage]
        behind = tuple(_behind(network, "", order, order.index(stage), channels))
        if not behind:
            continue
        gone = frozenset(block.name for block in blocks if block.name.startswith(tuple(f"{one}." for one in behind)))
        gone |= {block.name for block in blocks if block.name in behind}
        if dimension := _dimension(bank, behind):
            exits.append(Exit(stage, dimension, behind, gone))
    return tuple(exits)


def _order(bank: DomainBank) -> list[str]:
    """Stages and layers with numbers of their own, in the order in which they are done with a photo."""
    done: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: done.append(name))
        for name, module in bank.network.named_modules()
        if name in bank.stages or (module.state_dict() and (is_norm(module) or not list(module.children())))
    ]
    try:
        _look(bank)
    finally:
        for handle in handles:
            handle.remove()
    return list(dict.fromkeys(done))


def _behind(network: nn.Module, name: str, order: list[str], place: int, channels: int) -> Iterator[str]:
    """The largest modules that a network can do without of which all that is called is called behind that place."""
    module = network.get_submodule(name)
    within = [index for index, one in enumerate(order) if one == name or one.startswith(f"{name}.") or not name]
    if within and min(within) > place and name and can_do_without(network.get_submodule(name.rpartition(".")[0]), name):
        if not (is_norm(module) and _channels(module) == channels):
            yield name
        return
    for child, _ in module.named_children():
        yield from _behind(network, f"{name}.{child}".lstrip("."), order, place, channels)


def _channels(norm: nn.Module) -> int:
    return int(next(iter(norm.state_dict().values())).shape[0])


def _dimension(bank: DomainBank, skipped: tuple[str, ...]) -> int:
    try:
        with on_path(bank.network, Change(list(skipped))):
            seen = _look(bank)
            return int(seen.shape[1]) if seen.ndim == 2 else 0
    except RuntimeError:
        return 0


def _look(bank: DomainBank) -> Any:
    with torch.no_grad():
        return bank.features(bank.blank())


def exit_heads(exits: Sequence[Exit], classes: int) -> nn.ModuleDict:
    """A head that knows nothing for each, by the numbers of the exits from 1 on."""
    heads = {str(number): nn.Linear(one.dimension, classes) for number, one in enumerate(exits, 1)}
    for head in heads.values():
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    return nn.ModuleDict(heads)
