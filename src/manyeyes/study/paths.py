"""What a search for smaller networks within a large one found: the paths that it judged, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from manyeyes.adapt.supernet.front import on_front
from manyeyes.adapt.supernet.space import Kind

OF_BLOCKS: tuple[Kind, ...] = ("keep", "width", "kernel")


class Choice(NamedTuple):
    """One choice of a path. Of ``block``, by kind: "keep", 1 or 0; "width", the share of its hidden channels; "kernel",
    the side of its filters. Of a third of the network, which ``block`` names: "rank", of its adapters. Of the whole:
    "exit", by its number, 0 for the end; "size", the side of the photos in pixels."""

    block: str
    kind: Kind
    value: float


@dataclass(frozen=True)
class JudgedPath:
    """macs : multiply-accumulates for one photo. loss : what the search goes by, less is better. metric : what people
    read, on the same photos. choices : those about blocks in the order of a photo."""

    macs: int
    loss: float
    metric: float
    choices: tuple[Choice, ...]

    def chosen(self, block: str, kind: Kind, otherwise: float) -> float:
        """The value for a block; ``otherwise`` where there was nothing to choose."""
        return next((one.value for one in self.choices if (one.block, one.kind) == (block, kind)), otherwise)


@dataclass(frozen=True)
class Metric:
    """name : as people call it, "accuracy". unit : what follows its numbers; "%" for shares, which are told as such.
    decimals : that are told."""

    name: str
    unit: str = ""
    more_is_better: bool = True
    decimals: int = 2

    def scaled(self, value: float) -> float:
        """In its unit."""
        return 100 * value if self.unit == "%" else value

    def say(self, value: float) -> str:
        """With its unit."""
        gap = " " if self.unit not in ("", "%") else ""
        return f"{self.scaled(value):.{self.decimals}f}{gap}{self.unit}"


@dataclass(frozen=True)
class KeptBlock:
    """What a path keeps of one block. width : the share of its hidden channels, 0 where it is left out. kernel,
    full_kernel : sides of its filters, and as they came; 0 where there is nothing to choose, or nothing left."""

    name: str
    width: float
    kernel: int
    full_kernel: int

    @property
    def is_kept(self) -> bool:
        return self.width > 0


@dataclass(frozen=True)
class PathSearch:
    """paths : all that were judged. full : the network as it came; its choices name all blocks. chosen : the best path
    within the budget. budget : MACs for one photo. behind : by the number of an exit, the blocks that it leaves out."""

    paths: tuple[JudgedPath, ...]
    full: JudgedPath
    chosen: JudgedPath
    budget: float
    metric: Metric
    behind: Mapping[float, frozenset[str]] = field(default_factory=dict)

    @property
    def front(self) -> tuple[JudgedPath, ...]:
        """The paths to which no other is both as good, by the loss, and as cheap; from the cheapest on."""
        numbers = on_front([one.loss for one in self.paths], [one.macs for one in self.paths])
        return tuple(self.paths[number] for number in numbers)

    def share(self, path: JudgedPath) -> float:
        """Of the full network's MACs."""
        return path.macs / self.full.macs

    def kept(self, path: JudgedPath) -> tuple[KeptBlock, ...]:
        """What the path keeps of every block, from the first to the last."""
        gone = self.behind.get(path.chosen("", "exit", 0), frozenset())
        blocks: list[KeptBlock] = []
        for name in dict.fromkeys(one.block for one in self.full.choices if one.kind in OF_BLOCKS):
            full_kernel = int(self.full.chosen(name, "kernel", 0))
            if name in gone or path.chosen(name, "keep", 1) == 0:
                blocks.append(KeptBlock(name, 0.0, 0, full_kernel))
            else:
                width, kernel = path.chosen(name, "width", 1), int(path.chosen(name, "kernel", 0))
                blocks.append(KeptBlock(name, width, kernel, full_kernel))
        return tuple(blocks)

    def how_often_kept(self) -> list[float]:
        """For each block, the share of the front's paths that keep it."""
        kept = [self.kept(path) for path in self.front]
        return [sum(block.is_kept for block in one) / len(kept) for one in zip(*kept, strict=True)]
