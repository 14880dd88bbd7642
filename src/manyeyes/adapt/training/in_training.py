"""A bank as it is trained: beside the logits, what an auxiliary classifier says, and what gates let through."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from manyeyes.adapt.bank import DomainBank
from manyeyes.backbones.nets.stages import pooled
from manyeyes.backbones.second_order.layer import choose_layer


class Said(NamedTuple):
    """logits, auxiliary : (B, C), the latter of the auxiliary classifier, or None. weights : mean of all weights that
    gates gave to features, or None."""

    logits: Tensor
    auxiliary: Tensor | None
    weights: Tensor | None


class AuxiliaryHead(nn.Module):
    """What a stage says at all its positions on the mean, (B, D) → logits (B, C), without biases as in GTN.

    Tokens of a transformer are normalised before, as they are before its head.
    """

    def __init__(self, dimension: int, classes: int, is_of_tokens: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dimension) if is_of_tokens else nn.Identity()
        self.head = nn.Linear(dimension, classes, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(features))
        return logits


class InTraining(nn.Module):
    """Photos framed for a bank's backbone, (B, S, S, 3), and the name of a domain → :class:`Said`.

    auxiliaries : by domain. Outside training nobody asks them, and no file has them.
    """

    def __init__(self, bank: DomainBank, auxiliaries: Mapping[str, AuxiliaryHead], weighs: bool = False) -> None:
        super().__init__()
        self.bank = bank
        self._auxiliaries = nn.ModuleList(auxiliaries.values())
        self._numbers = {name: number for number, name in enumerate(auxiliaries)}
        self._weighs = weighs

    def forward(self, framed: Tensor, domain: str) -> Said:
        network, gates = self.bank.network, list(self.bank[domain].gates.values())
        stage = [network.get_submodule(penultimate(self.bank))] if domain in self._numbers else []
        with (
            _listening(stage, lambda made: pooled(made, network)) as seen,
            _listening(gates if self._weighs else [], torch.mean) as weights,
        ):
            logits = self.bank(framed, domain)
        auxiliary = self._auxiliaries[self._numbers[domain]](seen[0].float()) if seen else None
        return Said(logits, auxiliary, torch.stack(weights).mean() if weights else None)


def auxiliary_head(bank: DomainBank, classes: int) -> AuxiliaryHead:
    """One for the penultimate stage of a bank's backbone. Raises CardError when the network has no such stage."""
    network = bank.network
    shapes: list[tuple[int, int]] = []
    with torch.no_grad(), _listening([network.get_submodule(penultimate(bank))], lambda made: made) as seen:
        bank.features(torch.zeros(1, bank.size, bank.size, 3, dtype=torch.uint8, device=next(bank.parameters()).device))
    shapes = [(pooled(made, network).shape[1], made.ndim) for made in seen]
    dimension, axes = shapes[0]
    return AuxiliaryHead(dimension, classes, is_of_tokens=axes == 3)


def penultimate(bank: DomainBank) -> str:
    """The module that the penultimate stage ends with; in a transformer, the block at three quarters of the depth."""
    if len(bank.stages) > 1:
        return bank.stages[-2]
    return choose_layer(bank.network, bank.size, "the network")


@contextmanager
def _listening(modules: Sequence[nn.Module], read: Callable[[Tensor], Tensor]) -> Iterator[list[Tensor]]:
    """What is read of what modules make in the meantime. Read at once: a later layer may write over its input."""
    heard: list[Tensor] = []

    def note(module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        heard.append(read(made))

    handles = [module.register_forward_hook(note) for module in modules]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()
