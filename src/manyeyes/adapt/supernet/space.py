"""All paths through a supernet: which blocks are kept, how wide and with what filters, where it ends, and what it looks
at. Data, without any network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from manyeyes.adapt.supernet.blocks import Block
from manyeyes.errors import AdaptError

Kind = Literal["keep", "width", "kernel", "rank", "exit", "size"]
# Of a block's hidden channels.
WIDTHS = (1.0, 0.75, 0.5)
# For each gene the number of its value. The first value is what the network came with.
Path = tuple[int, ...]
# Where a choice is about the whole network.
EVERYWHERE = ""


@dataclass(frozen=True)
class Gene:
    """One choice. Of ``block``: whether it is kept (1 or 0), the share of its hidden channels, or the side of its
    depthwise filters at most. Of a third of the network, as :data:`manyeyes.adapt.sites.STAGES` name them: the rank of
    its adapters. Of the whole: the exit by its number, 0 for the end, and the side of the photos in pixels."""

    block: str
    kind: Kind
    values: tuple[float, ...]


@dataclass(frozen=True)
class PathSpace:
    """The choices of a supernet. Paths are tuples, of as many numbers as there are genes.

    behind : by the number of an exit, the blocks that it leaves out.
    """

    genes: tuple[Gene, ...]
    behind: Mapping[float, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, blocks: Sequence[Block], more: Sequence[Gene], behind: Mapping[float, frozenset[str]]) -> "PathSpace":
        """What these blocks could be, and ``more``. Raises AdaptError when there is nothing to choose of the blocks."""
        genes: list[Gene] = []
        for block in blocks:
            if block.skippable:
                genes.append(Gene(block.name, "keep", (1.0, 0.0)))
            if block.hidden:
                genes.append(Gene(block.name, "width", WIDTHS))
            if block.kernel:
                genes.append(Gene(block.name, "kernel", tuple(float(side) for side in range(block.kernel, 2, -2))))
        if not genes:
            known = "a ResNet, EfficientNet, MobileNet, ConvNeXt or ViT"
            raise AdaptError(f"the network has no block that could be smaller: choose {known}")
        return cls((*genes, *(gene for gene in more if len(gene.values) > 1)), behind)

    @property
    def full(self) -> Path:
        """The network as it came."""
        return (0,) * len(self.genes)

    @property
    def smallest(self) -> Path:
        return self.settled(tuple(len(gene.values) - 1 for gene in self.genes))

    @property
    def thinnest(self) -> Path:
        """The smallest of those that go to the end, and look at photos of full size."""
        return self.settled(tuple(0 if gene.block == EVERYWHERE else len(gene.values) - 1 for gene in self.genes))

    def landmarks(self) -> list[Path]:
        """The full path, each in which one choice about the whole network is another, the thinnest and the smallest."""
        one_other = [
            self.settled(tuple(number if gene == other else 0 for other in self.genes))
            for gene in self.genes
            if gene.block == EVERYWHERE
            for number in range(1, len(gene.values))
        ]
        return list(dict.fromkeys([self.full, *one_other, self.thinnest, self.smallest]))

    def check(self, path: Sequence[int]) -> Path:
        """The path as a tuple. Raises AdaptError for what is none of this space's."""
        if len(path) != len(self.genes) or not all(
            0 <= number < len(gene.values) for number, gene in zip(path, self.genes, strict=True)
        ):
            raise AdaptError(f"no path of this network: {tuple(path)}; it has {len(self.genes)} choices")
        return tuple(int(number) for number in path)

    def choices(self, path: Path) -> dict[tuple[str, Kind], float]:
        """What a path chooses, by block and kind."""
        return {
            (gene.block, gene.kind): gene.values[number]
            for number, gene in zip(self.check(path), self.genes, strict=True)
        }

    def settled(self, path: Path) -> Path:
        """The same path, of all tuples that stand for it that with the most zeros: a block that is left out has nothing
        else to choose."""
        choices = self.choices(path)
        gone = set(self.behind.get(choices.get((EVERYWHERE, "exit"), 0.0), ()))
        skipped = {block for (block, kind), value in choices.items() if kind == "keep" and value == 0.0}
        return tuple(
            0 if gene.block in gone or (gene.block in skipped and gene.kind != "keep") else number
            for number, gene in zip(path, self.genes, strict=True)
        )

    def sample(self, random: np.random.Generator) -> Path:
        """Any path, from such of which almost nothing is left out to such of which almost all is.

        Each gene by itself would make all paths about as large as each other. Early exits, which leave out much at
        once, are half as likely as the rest.
        """
        ends_late = random.random() < 0.5
        path = self.mutate(self.full, random, random.random())
        return tuple(
            0 if ends_late and gene.kind == "exit" else number for number, gene in zip(path, self.genes, strict=True)
        )

    def mutate(self, path: Path, random: np.random.Generator, rate: float = 0.1) -> Path:
        """The path with each gene another at this rate, any of its other values as likely."""
        changed: list[int] = []
        for number, gene in zip(self.check(path), self.genes, strict=True):
            other = (number + int(random.integers(1, len(gene.values)))) % len(gene.values)
            changed.append(other if random.random() < rate else number)
        return self.settled(tuple(changed))

    def encode(self, path: Path) -> npt.NDArray[np.float32]:
        """For a model that predicts how good a path is: a one for each gene's value, (sum of values,)."""
        ones = [
            np.eye(len(gene.values), dtype=np.float32)[number] for number, gene in zip(path, self.genes, strict=True)
        ]
        return np.concatenate(ones)
