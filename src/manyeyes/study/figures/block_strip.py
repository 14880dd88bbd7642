"""What a path keeps of each block of a network, as a strip: a bar for each block, in the order of a photo."""

from collections.abc import Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from manyeyes.images.photo import readable
from manyeyes.study.figures.style import BLUE, FAINT, GREY, INK, VERMILION, WIDTH, bare
from manyeyes.study.paths import KeptBlock, PathSearch
from manyeyes.study.paths_text import network_words

EMPTY = "#eef0f3"
# Inches: of both rows of bars and of a line of numbers; of a block at least; and what is not blocks, across and down.
BARS, OFTEN, LINE = 0.85, 0.3, 0.165
SLOT, ASIDE, HEADING = 0.13, 1.25, 0.6
# Typographic points, and what a character takes of them across.
SMALL, CHARACTER = 7.5, 0.56
# Fewer blocks than this do not fill the strip.
FEW = 8


class BlockStrip:
    """Of each block what the chosen path keeps, and how often the front's paths keep it; numbers and names below.

    width, height : inches that it takes.
    """

    def __init__(self, search: PathSearch) -> None:
        self.blocks = search.kept(search.chosen)
        self.often = search.how_often_kept()
        self.front = len(search.front)
        self.words = network_words(search, search.chosen)
        self.rows = _rows(self.blocks)
        self.stages = _stages([block.name for block in self.blocks])
        self.width = max(WIDTH, ASIDE + SLOT * len(self.blocks))
        slot = 72 * (self.width - ASIDE) / max(len(self.blocks), FEW)
        # Two digits find room.
        self.small = min(SMALL, slot / 1.6)
        longest = max((len(stage) * CHARACTER * SMALL for stage, _ in self.stages), default=0.0)
        self.is_upright = any(len(stage) * CHARACTER * SMALL > len(lasts) * slot for stage, lasts in self.stages)
        below = longest / 72 / LINE if self.is_upright else 1.0
        self.lines = len(self.rows) + 0.5 + below
        self.height = HEADING + LINE * bool(self.words) + BARS + OFTEN + LINE * self.lines

    def draw(self, part: SubFigure) -> None:
        heading = "What the chosen path keeps of the hidden channels of each block, from the first to the last"
        if not all(block.is_kept for block in self.blocks):
            heading += " (dashed: left out)"
        if self.words:
            heading += f"\nIt {'; '.join(self.words)}"
        part.suptitle(heading, x=0.008, ha="left", fontsize=9.5, color=FAINT)
        bars, often, table = part.subplots(3, 1, sharex=True, height_ratios=[BARS, OFTEN, LINE * self.lines])
        self._draw_bars(bars)
        often.bar(range(len(self.blocks)), 1, color=EMPTY, width=0.8)
        often.bar(range(len(self.blocks)), self.often, color=BLUE, alpha=0.5, width=0.8)
        often.set_yticks([0.5], [f"kept by the front's\n{f'{self.front} paths' if self.front > 1 else 'only path'}"])
        often.set_ylim(0, 1)
        self._draw_rows(table)
        self._draw_stages(table)
        table.set_xticks([])
        table.set_xlim(-0.6, max(len(self.blocks), FEW) - 0.4)
        for axes in (bars, often, table):
            axes.tick_params(axis="y", labelsize=SMALL, labelcolor=FAINT)
            bare(axes)

    def _draw_bars(self, axes: Axes) -> None:
        numbers = range(len(self.blocks))
        axes.bar(numbers, [block.is_kept for block in self.blocks], color=EMPTY, width=0.8)
        axes.bar(numbers, [block.width for block in self.blocks], color=VERMILION, alpha=0.8, width=0.8)
        gone = [number for number in numbers if not self.blocks[number].is_kept]
        axes.bar(gone, 1, width=0.8, facecolor="none", edgecolor=GREY, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.set_yticks([0, 0.5, 1], ["none", "half", "all"])
        axes.set_ylim(0, 1.02)

    def _draw_rows(self, axes: Axes) -> None:
        for line, (name, cells) in enumerate(self.rows):
            colour = INK if name == SIDE else FAINT
            for number, (cell, block) in enumerate(zip(cells, self.blocks, strict=True)):
                weight = "bold" if name == SIDE and block.kernel < block.full_kernel else "normal"
                axes.text(
                    number,
                    line,
                    cell,
                    ha="center",
                    va="center",
                    fontsize=self.small,
                    color=colour,
                    fontweight=weight,
                )
        axes.set_yticks(range(len(self.rows)), [name for name, _ in self.rows])
        axes.set_ylim(self.lines - 0.5, -0.5)

    def _draw_stages(self, axes: Axes) -> None:
        """Below the blocks of each stage a line, and its name once."""
        line, start = len(self.rows) - 0.4, 0
        for stage, lasts in self.stages:
            ends = [start - 0.4, start + len(lasts) - 0.6]
            start += len(lasts)
            if stage:
                axes.plot(ends, [line, line], color=GREY, linewidth=0.8)
                rotation = 90 if self.is_upright else 0
                where = sum(ends) / 2, line + 0.25
                axes.text(*where, stage, ha="center", va="top", rotation=rotation, fontsize=SMALL, color=FAINT)


SIDE, FULL_SIDE, NAME = "side of its filters", "in the full network", "block"


def _rows(blocks: Sequence[KeptBlock]) -> list[tuple[str, list[str]]]:
    """Below the bars, line by line: what it tells, and of each block."""
    rows = []
    if any(block.full_kernel for block in blocks):
        rows.append((SIDE, [str(block.kernel or "") for block in blocks]))
        rows.append((FULL_SIDE, [str(block.full_kernel or "") for block in blocks]))
    return [*rows, (NAME, [readable(block.name).rpartition(".")[2] for block in blocks])]


def _stages(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """What comes before the last dot of the blocks' names, and the rest for each of them.

    A last part that all stages share is no name: "stages.0.blocks" is "stages.0".
    """
    parts = [readable(name).rpartition(".") for name in names]
    stages = [(stage, [last for _, _, last in of_stage]) for stage, of_stage in groupby(parts, lambda part: part[0])]
    if len(stages) > 1 and all("." in stage for stage, _ in stages):
        ends = {stage.rpartition(".")[2] for stage, _ in stages}
        if len(ends) == 1:
            return [(stage.rpartition(".")[0], lasts) for stage, lasts in stages]
    return stages
