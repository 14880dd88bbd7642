"""Labels beside what they name, where they hide least."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from manyeyes.study.figures.style import GREY

Points = npt.NDArray[np.float64]

# Of a label from what it names, in typographic points; from FAR on a line leads there.
DISTANCES, FAR = (8.0, 16.0, 26.0, 40.0, 56.0, 80.0), 26.0
DIRECTIONS = np.deg2rad([90, 45, 135, 0, 180, 270, 315, 225, 65, 115, 25, 155, 335, 205, 295, 245])
# Of those that it could name, so many are tried.
MOST_POINTS = 10
# What keeps a label off others and off what it names, in points.
MARGIN = 3.0
# What it costs to hide a point of the crowd; a label, or to leave the axes; and to be a point further away.
POINT, LABEL, AWAY = 1.0, 1000.0, 0.05


@dataclass(frozen=True)
class Label:
    """text : in one line or more. points : what it names any one of, (k, 2), in the axes' data."""

    text: str
    points: Points
    colour: str
    weight: str = "normal"


def place(axes: Axes, labels: Sequence[Label], crowd: Points) -> None:
    """Writes each label near one of its points, where it hides least of the ``crowd`` (n, 2), and no other label.

    To be called last: it asks where everything else is drawn.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    crowd = axes.transData.transform(crowd)
    taken: list[Bbox] = []
    for label in labels:
        written = axes.annotate(
            label.text,
            (0.0, 0.0),
            (0, 0),
            textcoords="offset points",
            annotation_clip=False,
            ha="center",
            va="center",
            fontsize=8.5,
            color=label.colour,
            fontweight=label.weight,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 4},
            zorder=6,
        )
        assert written.arrow_patch is not None
        size = np.array(written.get_window_extent().size)
        options = []
        for point in label.points[:: 1 + len(label.points) // MOST_POINTS]:
            start = np.array(axes.transData.transform(point))
            for distance, direction in product(DISTANCES, DIRECTIONS):
                offset = np.array([np.cos(direction), np.sin(direction)]) * (distance * scale + size / 2)
                box = Bbox.from_bounds(*(start + offset - size / 2), *size).padded(MARGIN * scale)
                leader = start + np.linspace(0, 1, 20 if distance >= FAR else 0)[:, None] * offset
                blocked = sum(other.overlaps(box) or bool(_within(other, leader).any()) for other in taken)
                outside = not (axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max))
                cost = LABEL * (blocked + outside) + POINT * _within(box, crowd).sum() + AWAY * distance
                options.append((cost, distance, point, offset, box, leader))
        _, distance, point, offset, box, leader = min(options, key=lambda option: option[0])
        written.xy = (float(point[0]), float(point[1]))
        written.set_position((float(offset[0] / scale), float(offset[1] / scale)))
        written.arrow_patch.set_visible(distance >= FAR)
        taken.append(box)
        crowd = np.concatenate([crowd, leader])


def _within(box: Bbox, points: Points) -> npt.NDArray[np.bool_]:
    return np.asarray((points >= box.min).all(axis=1) & (points <= box.max).all(axis=1))
