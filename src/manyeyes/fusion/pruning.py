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
    """The backbones of a table of labelled photos (n,) that are worth their costs, in the order in which they joined:
    one at least.

    Greedily the one that raises the evidence (:class:`manyeyes.fusion.evidence.Evidence`) most for its cost joins,
    while it does so noticeably, and all together cost no more than ``budget``.
    """
    own: dict[str, list[str]] = {}
    for name in table.names:
        own.setdefault(backbone_of(name), []).append(name)
    evidence = Evidence(table.blocks, labels)
    chosen: list[Choice] = []
    with threadpool_limits(1, "blas"):
        names: list[str] = []
        so_far, spent = evidence.of(names), 0.0
        while left := [
            name
            for name in own
            if name not in {one.backbone for one in chosen} and (not chosen or spent + costs[name] <= budget)
        ]:
            gains = {name: evidence.of([*names, *own[name]]) - so_far for name in left}
            best = max(left, key=lambda name: gains[name] / costs[name])
            if chosen and gains[best] < LEAST_GAIN:
                break
            chosen.append(Choice(best, costs[best], gains[best]))
            names += own[best]
            so_far, spent = so_far + gains[best], spent + costs[best]
    return chosen
