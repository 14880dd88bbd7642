"""A domain: what is its own of an adapted backbone. Adapters, norms with their running statistics, and a head."""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from manyeyes.adapt.adapters import Adapter


class Domain(nn.Module):
    """Adapters and norms by the dotted names of the backbone's layers, and the head, features (B, D) → logits (B, C).

    ``classes`` are the names of the C logits.
    """

    def __init__(
        self, classes: tuple[str, ...], adapters: Mapping[str, Adapter], norms: Mapping[str, nn.Module], head: nn.Linear
    ) -> None:
        super().__init__()
        self.classes = classes
        # Share of the features that the head does not see in training.
        self.dropout = 0.0
        # Whether norms go on normalising by the statistics that they have, in training too.
        self.keeps_statistics = False
        self._adapters = nn.ModuleDict({_key(name): adapter for name, adapter in adapters.items()})
        self._norms = nn.ModuleDict({_key(name): norm for name, norm in norms.items()})
        self.head = head

    @classmethod
    def new(
        cls, classes: tuple[str, ...], adapters: Mapping[str, Adapter], norms: Mapping[str, nn.Module], dimension: int
    ) -> "Domain":
        """A domain whose norms begin as copies of the backbone's, and whose head knows nothing."""
        head = nn.Linear(dimension, len(classes))
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        own = {name: deepcopy(norm).requires_grad_(True) for name, norm in norms.items()}
        return cls(classes, adapters, own, head)

    @property
    def adapters(self) -> dict[str, Adapter]:
        return {_name(key): adapter for key, adapter in self._adapters.items()}  # type: ignore[misc]

    @property
    def norms(self) -> dict[str, nn.Module]:
        return {_name(key): norm for key, norm in self._norms.items()}

    def train(self, mode: bool = True) -> "Domain":
        super().train(mode)
        if self.keeps_statistics:
            self._norms.eval()
        return self

    def logits(self, features: Tensor) -> Tensor:
        """(B, D) → (B, C)."""
        seen: Tensor = self.head(nn.functional.dropout(features, self.dropout, self.training))
        return seen

    def role_parameters(self) -> dict[str, list[nn.Parameter]]:
        """What is trained, by its role: ``adapters``, ``norms``, ``head``."""
        return {
            "adapters": list(self._adapters.parameters()),
            "norms": list(self._norms.parameters()),
            "head": list(self.head.parameters()),
        }

    @torch.no_grad()
    def set_head(self, weight: Tensor, bias: Tensor) -> None:
        """Weight (C, D) and bias (C,)."""
        self.head.weight.copy_(weight)
        self.head.bias.copy_(bias)


# A ModuleDict's keys must not hold dots.
def _key(name: str) -> str:
    return name.replace(".", "/")


def _name(key: str) -> str:
    return key.replace("/", ".")
