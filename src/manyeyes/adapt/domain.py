"""A domain: what is its own of an adapted backbone. Adapters, norms with their running statistics, gates and a head;
or all weights, where the whole network was trained."""

from collections.abc import Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from manyeyes.adapt.adapters import Adapter
from manyeyes.backbones.nets.feature_gate import FeatureGate
from manyeyes.backbones.nets.gated import POOLED

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Domain(nn.Module):
    """Adapters and norms by the dotted names of the backbone's layers, gates by their places, weights of its own by the
    names of the backbone's, and the head, features (B, D) → logits (B, C).

    ``classes`` are the names of the C logits. ``body`` holds all weights but the norms', or none.
    """

    def __init__(
        self,
        classes: tuple[str, ...],
        adapters: Mapping[str, Adapter],
        norms: Mapping[str, nn.Module],
        head: nn.Linear,
        gates: Mapping[str, FeatureGate],
        body: Mapping[str, nn.Parameter],
    ) -> None:
        super().__init__()
        self.classes = classes
        # Share of the features that the head does not see in training.
        self.dropout = 0.0
        # Whether norms go on normalising by the statistics that they have, in training too.
        self.keeps_statistics = False
        # Whether all of the backbone's stays as it is, norms of adapters too.
        self.is_frozen = False
        self._adapters = nn.ModuleDict({_key(name): adapter for name, adapter in adapters.items()})
        self._norms = nn.ModuleDict({_key(name): norm for name, norm in norms.items()})
        self._gates = nn.ModuleDict({_key(place): gate for place, gate in gates.items()})
        self._body = nn.ParameterDict({_key(name): parameter for name, parameter in body.items()})
        self.head = head

    @classmethod
    def new(
        cls,
        classes: tuple[str, ...],
        dimension: int,
        norms: Mapping[str, nn.Module],
        adapters: Mapping[str, Adapter] = NOTHING,
        gates: Mapping[str, FeatureGate] = NOTHING,
        body: Mapping[str, nn.Parameter] = NOTHING,
    ) -> "Domain":
        """A domain whose norms and weights begin as copies of the backbone's, and whose head knows nothing."""
        head = nn.Linear(dimension, len(classes))
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        own = {name: deepcopy(norm).requires_grad_(True) for name, norm in norms.items()}
        weights = {name: nn.Parameter(parameter.detach().clone()) for name, parameter in body.items()}
        return cls(classes, adapters, own, head, gates, weights)

    @property
    def adapters(self) -> dict[str, Adapter]:
        return {_name(key): adapter for key, adapter in self._adapters.items()}  # type: ignore[misc]

    @property
    def norms(self) -> dict[str, nn.Module]:
        return {_name(key): norm for key, norm in self._norms.items()}

    @property
    def gates(self) -> dict[str, FeatureGate]:
        return {_name(key): gate for key, gate in self._gates.items()}  # type: ignore[misc]

    @property
    def body(self) -> dict[str, nn.Parameter]:
        return {_name(key): parameter for key, parameter in self._body.items()}

    def train(self, mode: bool = True) -> "Domain":
        super().train(mode)
        if self.keeps_statistics or self.is_frozen:
            self._norms.eval()
        if self.is_frozen:
            self._adapters.eval()
        return self

    def weighed(self, features: Tensor) -> Tensor:
        """The features that the head sees: (B, D), each by its weight where there is a gate over them."""
        return features * self._gates[POOLED](features) if POOLED in self._gates else features

    def logits(self, features: Tensor) -> Tensor:
        """Of features as :meth:`weighed` gives them: (B, D) → (B, C)."""
        seen: Tensor = self.head(nn.functional.dropout(features, self.dropout, self.training))
        return seen

    def role_parameters(self) -> dict[str, list[nn.Parameter]]:
        """What is trained, by its role: ``adapters``, ``norms``, ``body``, ``gates``, ``head``."""
        return {
            "adapters": list(self._adapters.parameters()),
            "norms": list(self._norms.parameters()),
            "body": list(self._body.parameters()),
            "gates": list(self._gates.parameters()),
            "head": list(self.head.parameters()),
        }

    def begin_as(self, other: "Domain") -> None:
        """Have all that another domain with as much of its own has learnt, but for the head."""
        learnt = {name: tensor for name, tensor in other.state_dict().items() if not name.startswith("head.")}
        self.load_state_dict(self.state_dict() | learnt)

    def draw_head(self) -> None:
        """A head as torch draws it, and without a bias, which stays zero."""
        self.head.reset_parameters()
        nn.init.zeros_(self.head.bias)
        self.head.bias.requires_grad_(False)

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
