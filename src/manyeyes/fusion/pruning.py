"""Which backbones of a zoo are worth having for some photos: learnt from a few of them, before all are looked at."""

from collections.abc import Mapping
from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from manyeyes.features.table import FeatureTable, backbone_of
from manyeyes.fusion.evidence import LEAST_GAIN, Evidence, Labels


@dataclass(frozen=True)
class Choice:
    """A backbone that joined the others, what it costs, and by how much that raised the evidence, in nats a photo and
    class."""

    backbone: str
    cost: float
    gain: float


def choose_backbones(table: FeatureTable, labels: Labels, costs: Mapping[str, float], budget: float) -> list[Choice]:
    """The backbones of a table of labelled photos (n,) that are worth their costs, in the order in which they joined.

    Greedily, of those that raise the evidence (:class:`manyeyes.fusion.evidence.Evidence`) noticeably, the one joins
    that does so most for its cost, while all together cost no more than ``budget``. One joins always: the cheapest
    where all others would cost too much.
    """
    own: dict[str, list[str]] = {}
    for name in table.names:
        own.setdefault(backbone_of(name), []).append(name)
    evidence = Evidence(table.blocks, labels)
    chosen: list[Choice] = []
    names: list[str] = []
    with threadpool_limits(1, "blas"):
        so_far, spent = evidence.of(names), 0.0
        while True:
            left = [name for name in own if not set(own[name]) <= set(names) and spent + costs[name] <= budget]
            if not left and not chosen:
                left = [min(own, key=lambda name: costs[name])]
            gains = {name: evidence.of([*names, *own[name]]) - so_far for name in left}
            worth = [name for name in left if gains[name] >= LEAST_GAIN or not chosen]
            if not worth:
                return chosen
            best = max(worth, key=lambda name: gains[name] / costs[name])
            chosen.append(Choice(best, costs[best], gains[best]))
            names += own[best]
            so_far, spent = so_far + gains[best], spent + costs[best]
