"""Which features of a network a domain weighs, and how: gates, as data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from manyeyes.backbones.nets.feature_gate import DROPOUT, REDUCTION, FeatureGate, GateStart, units
from manyeyes.backbones.nets.gated import POOLED
from manyeyes.errors import AdaptError, ChoiceError

At = Literal["pooled", "map", "stages"]


@dataclass(frozen=True)
class Gating:
    """Gates over the features of a network: the transfer module of GTN.

    at : pooled, the features before the head; map, the map that the last stage ends with, its channels weighed by what
        they are on the mean; stages, the same after every stage. reduction, dropout, bias, start, static : see
        :class:`manyeyes.backbones.nets.feature_gate.FeatureGate`, whose layer in between has D / reduction units. The
        head is fitted to features as they came, so a gate begins by leaving them so.
    """

    at: At = "pooled"
    reduction: int = REDUCTION
    dropout: float = DROPOUT
    bias: bool = False
    start: GateStart = "identity"
    static: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("at", get_args(At)), ("start", get_args(GateStart))):
            if getattr(self, name) not in allowed:
                raise ChoiceError(f"a gate's {name} is one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        if self.reduction < 1 or not 0 <= self.dropout < 1:
            raise ChoiceError("a gate wants a reduction of 1 or more, and a dropout of 0 or more and below 1")

    def places(self, stages: Sequence[str]) -> tuple[str, ...]:
        """Where gates are. Raises AdaptError when the network's stages are wanted and not known."""
        if self.at == "pooled":
            return (POOLED,)
        if not stages:
            raise AdaptError("the stages of this network are not known: let the gate weigh its pooled features")
        return tuple(stages) if self.at == "stages" else (stages[-1],)

    def gate(self, dimension: int) -> FeatureGate:
        """A new one, of D features or channels."""
        hidden = units(dimension, self.reduction)
        return FeatureGate(dimension, hidden, self.dropout, self.bias, self.start, self.static)
