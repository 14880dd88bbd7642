"""Which adapters and gates a network gets, where, and how large: a plan, as data."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import torch
from torch import nn

from manyeyes.adapt.adapters import Adapter, Behind, Beside, PatchesBeside
from manyeyes.adapt.gating import Gating
from manyeyes.adapt.maps import ChannelMap, Full, LowRank, PerChannel, Start
from manyeyes.adapt.sites import STAGES, Kind, Site, Stage
from manyeyes.backbones.nets.feature_gate import FeatureGate
from manyeyes.backbones.nets.gated import POOLED
from manyeyes.errors import AdaptError, ChoiceError

Method = Literal["parallel", "series", "lowrank", "norms", "full"]
Statistics = Literal["source", "own"]
Head = Literal["fitted", "random"]
METHODS: tuple[Method, ...] = get_args(Method)
RANK = 8


@dataclass(frozen=True)
class Plan:
    """What a domain gets of its own: adapters, norms, gates.

    method : parallel, an adapter beside every layer, full (C_out × C_in) where its filters are k×k and of rank r where
        they are 1×1 and a full one would be as large as they are; series, the same behind every layer; lowrank, of rank
        r beside every layer; norms, no adapters, only the norms are the domain's own; full, no adapters, all weights
        are. Layers that do not mix channels get a number for each channel.
    ranks : r of the early, mid and late third of the network; 0 for no adapters there.
    full : False makes those of rank r that would be full.
    statistics : by which norms of a batch normalise while training: those of the source, kept; or its own, which
        follow the batches, as in the papers, for photos enough (docs/results/decathlon.md).
    start : see :data:`manyeyes.adapt.maps.Start`.
    dropout : share of the channels that adapters do not see in training.
    gating : gates over the features, or None.
    head : fitted, where training begins is the best for the features as they came; random, as torch draws it, without
        a bias, as GTN's code does.
    """

    method: Method = "parallel"
    ranks: tuple[int, int, int] = (RANK, RANK, RANK)
    full: bool = True
    statistics: Statistics = "source"
    start: Start = "zero"
    dropout: float = 0.0
    gating: Gating | None = None
    head: Head = "fitted"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ChoiceError(f"{self.method!r} is no method of adapting: choose from {', '.join(METHODS)}")
        if len(self.ranks) != len(STAGES) or min(self.ranks) < 0:
            raise ChoiceError(f"ranks are three numbers of 0 or more (early, mid, late), not {self.ranks}")
        if not 0 <= self.dropout < 1:
            raise ChoiceError(f"dropout is a share of 0 or more and below 1, not {self.dropout}")
        if self.statistics not in get_args(Statistics):
            raise ChoiceError(f"statistics are {' or '.join(get_args(Statistics))}, not {self.statistics!r}")
        if self.head not in get_args(Head):
            raise ChoiceError(f"a head is {' or '.join(get_args(Head))}, not {self.head!r}")
        if self.start not in get_args(Start):
            raise ChoiceError(f"adapters start as {' or '.join(get_args(Start))}, not as {self.start!r}")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """The plan whose :meth:`to_dict` this is (after a way through JSON too). Raises AdaptError for any other."""
        try:
            gating = fields.get("gating") and Gating(**fields["gating"])
            return cls(**fields | {"ranks": tuple(fields["ranks"]), "gating": gating})
        except (TypeError, KeyError, ValueError) as error:
            raise AdaptError(f"not a plan of adapters: {error}") from None

    def rank_at(self, stage: Stage) -> int:
        return self.ranks[STAGES.index(stage)]

    def adapters(self, sites: Sequence[Site]) -> dict[str, Adapter]:
        """New adapters by the names of their sites."""
        if self.method in ("norms", "full"):
            return {}
        return {site.name: self._adapter(site) for site in sites if self.rank_at(site.stage) and self._fits(site)}

    def gates(self, dimensions: Mapping[str, int]) -> dict[str, FeatureGate]:
        """New gates by their places. ``dimensions`` : of the stages in order, and of what is pooled."""
        if self.gating is None:
            return {}
        stages = [name for name in dimensions if name != POOLED]
        return {place: self.gating.gate(dimensions[place]) for place in self.gating.places(stages)}

    def gates_size(self, dimensions: Mapping[str, int]) -> int:
        """How many numbers its gates have."""
        with torch.device("meta"):
            gates = self.gates(dimensions)
        return sum(parameter.numel() for one in gates.values() for parameter in one.parameters())

    def _fits(self, site: Site) -> bool:
        # Groups would have to be kept apart, which factors do not do.
        return site.kind is not Kind.SPATIAL or site.groups == 1 or self._is_full(site)

    def _is_full(self, site: Site) -> bool:
        return site.kind is Kind.SPATIAL and self.full and self.method != "lowrank"

    def _adapter(self, site: Site) -> Adapter:
        if self.method == "series":
            return Behind(site.into, self._map(site, site.into), self.dropout)
        map_ = self._map(site, site.out_of)
        if isinstance(map_, LowRank) and site.kind is Kind.PATCHES and isinstance(site.layer, nn.Conv2d):
            return PatchesBeside(site.layer, map_, self.dropout)
        return Beside(site.layer, map_, self.dropout)

    def _map(self, site: Site, out_of: int) -> ChannelMap:
        if site.kind is Kind.DEPTHWISE:
            return PerChannel(site.into, start=self.start)
        if self._is_full(site):
            groups = 1 if self.method == "series" else site.groups
            return Full(site.into, out_of, groups, start=self.start)
        if site.kind is Kind.PATCHES and self.method != "series":
            out_of *= site.layer.weight.shape[2:].numel()
        rank = min(self.rank_at(site.stage), site.into, out_of)
        return LowRank(site.into, out_of, rank, site.is_last, self.start)

    def size(self, sites: Sequence[Site]) -> int:
        """How many numbers its adapters have."""
        with torch.device("meta"):  # nothing is drawn, and no memory taken
            adapters = self.adapters(sites)
        return sum(parameter.numel() for one in adapters.values() for parameter in one.parameters())


def ranks_of(where: str, rank: str | int = RANK) -> tuple[int, int, int]:
    """The ranks that two options of the command line stand for: ``early``, ``mid``, ``late``, ``all`` or several joined
    by commas; and one rank for all of them, or ``early=4,late=16``.

    >>> ranks_of("early,mid", 4)
    (4, 4, 0)
    >>> ranks_of("all", "early=4,late=16")
    (4, 8, 16)
    """
    wanted = set(where.split(","))
    if not wanted <= {"all", *STAGES}:
        raise ChoiceError(f"adapters can be {', '.join(STAGES)} or all, not {where!r}")
    numbers: dict[str, int] = dict.fromkeys(STAGES, RANK)
    if re.fullmatch(r"\d+", str(rank)):
        numbers = dict.fromkeys(STAGES, int(rank))
    else:
        pairs = dict(re.findall(r"(\w+)=(\d+)", str(rank)))
        if not pairs or pairs.keys() - set(STAGES) or ",".join(f"{k}={v}" for k, v in pairs.items()) != rank:
            raise ChoiceError(f"a rank is a number, or like early=4,mid=8,late=16, not {rank!r}")
        numbers = numbers | {stage: int(number) for stage, number in pairs.items()}
    first, second, third = (numbers[stage] if wanted & {stage, "all"} else 0 for stage in STAGES)
    return first, second, third


def within_budget(plan: Plan, sites: Sequence[Site], multiple: float, own: int, others: int) -> Plan:
    """The plan with the largest ranks such that backbone and domain have ``multiple`` times the backbone's parameters.

    own, others : parameters of the backbone, and of what a domain has beside adapters: norms and gates. The plan says
    by its ranks where adapters may be; full ones become such of low rank when all of them would be too many. Raises
    AdaptError when not even rank 1 fits.
    """
    room = (multiple - 1) * own - others

    def at(rank: int, full: bool) -> Plan:
        first, second, third = (rank if given else 0 for given in plan.ranks)
        return dataclasses.replace(plan, ranks=(first, second, third), full=full)

    for full in (True, False) if plan.full else (False,):
        if at(1, full).size(sites) <= room:
            low, high = 1, max(max(site.into, site.out_of) for site in sites)
            while low < high:
                middle = (low + high + 1) // 2
                low, high = (middle, high) if at(middle, full).size(sites) <= room else (low, middle - 1)
            return at(low, full)
    least = 1 + (at(1, False).size(sites) + others) / own
    raise AdaptError(f"{multiple:g} times the backbone's parameters do not even do for rank 1: that takes {least:.3f}")
