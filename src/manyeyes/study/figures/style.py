"""One look for all figures: light, no boxes, colours that colour-blind people can tell apart (Okabe and Ito, 2008)."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from manyeyes.images.photo import readable
from manyeyes.study.methods import Kind

INK, FAINT, GRID = "#222222", "#6b7280", "#e5e7eb"
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, GREY = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#aa4499",
    "#56b4e9",
    "#7f8793",
)
COLOURS = {
    Kind.SINGLE: GREY,
    Kind.CONCATENATION: BLUE,
    Kind.STACKING: SKY,
    Kind.MIXTURE: ORANGE,
    Kind.RIVAL: PURPLE,
    Kind.OURS: VERMILION,
    Kind.BOUND: GREEN,
}
# From paper to ink, and from blue through paper to vermilion: both get steadily darker away from paper.
SEQUENTIAL = LinearSegmentedColormap.from_list("sequential", ["#f7fbff", "#9ecae1", BLUE, "#08306b"])
DIVERGING = LinearSegmentedColormap.from_list("diverging", [BLUE, "#a6cbe3", "#fbfbfb", "#f3b48b", VERMILION])

CLIP_PATH = re.compile(r'<clipPath id="(\w+)"')

WIDTH = 9.0  # inches
LONGEST_NAME = 36

SETTINGS: dict[str, Any] = {
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#c4c9d1",
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 6,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.6,
    # Class names are the user's: a "$" in one is no formula.
    "text.parse_math": False,
    # The same results draw the same bytes.
    "svg.hashsalt": "manyeyes",
}


@contextmanager
def house_style() -> Iterator[None]:
    # matplotlib types the names of all its settings; ours are a plain dict.
    with matplotlib.rc_context(SETTINGS):  # type: ignore[arg-type]
        yield


def new_figure(height: float, title: str, width: float = WIDTH) -> Figure:
    """An empty figure with a heading, drawn without any display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.008, ha="left", fontsize=11, fontweight="bold")
    return figure


def save(figure: Figure, folder: Path, name: str) -> None:
    """As SVG and as PNG."""
    drawn = StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    (folder / f"{name}.svg").write_text(_counted(drawn.getvalue()), encoding="utf-8")
    figure.savefig(folder / f"{name}.png", dpi=160)


def _counted(svg: str) -> str:
    """With counted clip paths: matplotlib names them by coordinates, which differ in the last bit from run to run."""
    names = dict.fromkeys(CLIP_PATH.findall(svg))
    for number, name in enumerate(names):
        svg = svg.replace(name, f"clip{number}")
    return svg


def short(name: str) -> str:
    """A name that fits beside an axis."""
    name = readable(name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def bare(axes: Axes, grid: Literal["x", "y"] | None = None) -> None:
    """No lines but a light grid."""
    for side in axes.spines.values():
        side.set_visible(False)
    if grid is not None:
        axes.grid(axis=grid)


def name_rows(axes: Axes, names: Sequence[str], colours: Sequence[str] | None = None) -> None:
    """A name for each row, the first at the top."""
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    for label, colour in zip(axes.get_yticklabels(), colours or [], strict=False):
        label.set_color(colour)
    axes.set_ylim(len(names) - 0.4, -0.6)
