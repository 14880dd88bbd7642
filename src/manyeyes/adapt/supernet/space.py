"""All paths through a supernet: which blocks are kept, how wide and with what filters. Data, without any network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from manyeyes.adapt.supernet.blocks import Block
from manyeyes.errors import AdaptError

Kind = Literal["keep", "width", "kernel"]
# Of a block's hidden channels.
WIDTHS = (1.0, 0.75, 0.5)
# For each gene the number of its value. The first value is what the network came with.
Path = tuple[int, ...]


@dataclass(frozen=True)
class Gene:
    """One choice: of ``block``, whether it is kept (1 or 0), the share of its hidden channels, or the side of its
    depthwise filters at most."""

    block: str
    kind: Kind
    values: tuple[float, ...]


@dataclass(frozen=True)
class PathSpace:
    """The choices of a supernet. Paths are tuples, of as many numbers as there are genes."""

    genes: tuple[Gene, ...]

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> "PathSpace":
        """What these blocks could be. Raises AdaptError when there is nothing to choose."""
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
        return cls(tuple(genes))

    @property
    def full(self) -> Path:
        """The network as it came."""
        return (0,) * len(self.genes)

    @property
    def smallest(self) -> Path:
        return tuple(len(gene.values) - 1 for gene in self.genes)

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

    def sample(self, random: np.random.Generator) -> Path:
        """Any path, each value of a gene as likely as the others."""
        return tuple(int(random.integers(len(gene.values))) for gene in self.genes)

    def mutate(self, path: Path, random: np.random.Generator, rate: float = 0.1) -> Path:
        """The path with each gene drawn anew at this rate."""
        other = self.sample(random)
        anew = random.random(len(self.genes)) < rate
        return tuple(int(two if new else one) for one, two, new in zip(self.check(path), other, anew, strict=True))

    def cross(self, one: Path, other: Path, random: np.random.Generator) -> Path:
        """Each gene from either."""
        first = random.random(len(self.genes)) < 0.5
        return tuple(
            int(a if mine else b) for a, b, mine in zip(self.check(one), self.check(other), first, strict=True)
        )

    def encode(self, path: Path) -> npt.NDArray[np.float32]:
        """For a model that predicts how good a path is: a one for each gene's value, (sum of values,)."""
        ones = [
            np.eye(len(gene.values), dtype=np.float32)[number] for number, gene in zip(path, self.genes, strict=True)
        ]
        return np.concatenate(ones)
