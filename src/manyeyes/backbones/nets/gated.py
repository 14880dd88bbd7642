"""A network with feature gates: at its pooled features, or at the maps that its stages end with."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from manyeyes.backbones.nets.feature_gate import FeatureGate
from manyeyes.backbones.nets.stages import pooled, weighed
from manyeyes.backbones.nets.whole import Headed
from manyeyes.errors import CardError

# The place of the gate at the features; those of others are the names of modules.
POOLED = "pooled"
GATES, INNER = "gates.", "inner."


class Gated(Headed):
    """``inner`` with gates by their places. Source logits, if any, are of the features before the gate."""

    def __init__(self, inner: Headed, gates: Mapping[str, FeatureGate]) -> None:
        super().__init__()
        self.inner = inner
        self.gates = nn.ModuleDict({_key(place): gate for place, gate in gates.items()})
        for place, gate in gates.items():
            if place != POOLED:
                inner.get_submodule(place).register_forward_hook(partial(_weigh_map, gate, inner))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        features, logits = self.inner(pixels)
        if POOLED in self.gates:
            features = features * self.gates[POOLED](features)
        return features, logits


def gated_state(inner: Mapping[str, Tensor], gates: Mapping[str, FeatureGate]) -> dict[str, Tensor]:
    """The state of a network behind gates: as of :class:`Gated`, or where there are none, that of the network."""
    if not gates:
        return dict(inner)
    state = {f"{INNER}{name}": tensor for name, tensor in inner.items()}
    for place, gate in gates.items():
        state |= {f"{GATES}{_key(place)}.{name}": tensor for name, tensor in gate.state_dict().items()}
    return state


def gates_among(tensors: Mapping[str, Tensor]) -> dict[str, FeatureGate]:
    """The gates, by their places, of a :class:`Gated` network whose state this is; none of any other network's.

    Raises CardError for what is no gate.
    """
    states: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(GATES):
            place, _, part = name.removeprefix(GATES).partition(".")
            states.setdefault(place.replace("/", "."), {})[part] = tensor
    try:
        return {place: FeatureGate.from_tensors(state) for place, state in states.items()}
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CardError(f"no feature gate can be read from the weights: {' '.join(str(error).split())[:200]}") from None


def _key(place: str) -> str:
    """A ModuleDict's keys must not hold dots."""
    return place.replace(".", "/")


def _weigh_map(gate: FeatureGate, network: nn.Module, module: nn.Module, given: Any, made: Tensor) -> Tensor:
    return weighed(made, gate(pooled(made, network)))
