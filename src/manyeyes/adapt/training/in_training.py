"""A bank as it is trained: beside the logits, what an auxiliary classifier says, and what gates let through."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from manyeyes.adapt.bank import DomainBank
from manyeyes.backbones.nets.stages import pooled
from manyeyes.backbones.second_order.layer import choose_layer


class Said(NamedTuple):
    """logits, auxiliary : (B, C), the latter of the auxiliary classifier, or None. features : (B, D), what the head
    sees before any are dropped. weights : of each gate the mean of what it weighed features by, on the mean over
    gates, or None."""

    logits: Tensor
    features: Tensor
    auxiliary: Tensor | None
    weights: Tensor | None


class AuxiliaryHead(nn.Module):
    """What a stage says at all its positions on the mean, (B, D) → logits (B, C), without biases as in GTN.

    Tokens of a transformer are normalised before, as they are before its head. ``stage`` : the module that ends it.
    """

    def __init__(self, stage: str, dimension: int, classes: int, is_of_tokens: bool) -> None:
        super().__init__()
        self.stage = stage
        self.norm = nn.LayerNorm(dimension) if is_of_tokens else nn.Identity()
        self.head = nn.Linear(dimension, classes, bias=False)

    @classmethod
    def of(cls, bank: DomainBank, classes: int) -> Self:
        """One for the penultimate stage of a bank's backbone: in a transformer, three quarters of its blocks.

        Raises CardError when the network has no such stage.
        """
        network, was_training = bank.network, bank.training
        bank.eval()  # nobody is to learn from the photo that it looks at
        stage = bank.stages[-2] if len(bank.stages) > 1 else choose_layer(network, bank.size, "the network")
        with torch.no_grad(), _listening([network.get_submodule(stage)], lambda made: made) as seen:
            bank.features(bank.blank())
        bank.train(was_training)
        return cls(stage, pooled(seen[0], network).shape[1], classes, is_of_tokens=seen[0].ndim == 3)

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
        head = self._auxiliaries[self._numbers[domain]] if domain in self._numbers else None
        stages = [network.get_submodule(head.stage)] if isinstance(head, AuxiliaryHead) else []
        with (
            _listening(stages, lambda made: pooled(made, network)) as seen,
            _listening(gates if self._weighs else [], torch.mean) as weights,
        ):
            features = self.bank.switch(domain).features(framed)
            logits = self.bank[domain].logits(features)
        auxiliary = None if head is None else head(seen[0].float())
        return Said(logits, features, auxiliary, torch.stack(weights).mean() if weights else None)


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
