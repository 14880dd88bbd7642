"""Figure on a feature gate: what it turns down, and what it keeps for whom."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure, SubFigure

from manyeyes.study.feature_gate import OFF, GateReading
from manyeyes.study.figures.photos import show_photo
from manyeyes.study.figures.style import BLUE, DIVERGING, FAINT, VERMILION, bare, name_rows, new_figure, short

# Features that are drawn class by class, and classes that find room.
FEATURES, CLASSES = 40, 60
# Of the colours, in units of weight to both sides of 1.
LEAST_REACH = 0.05


def draw_gate(reading: GateReading, classes: Sequence[str], paths: Sequence[str], title: str) -> Figure:
    """``paths`` are of the photos that the reading is of."""
    shown = min(len(classes), CLASSES)
    heights = [0.9 + 0.17 * shown, 0.35 + 1.15 * len(reading.exciting)]
    figure = new_figure(sum(heights) + 0.4, title)
    above, below = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)[:, 0]
    _by_class(above, reading, classes, shown)
    _exciting(below, reading, paths)
    return figure


def _by_class(part: SubFigure, reading: GateReading, classes: Sequence[str], shown: int) -> None:
    left, right = part.subplots(1, 2, width_ratios=[3.2, 1], sharey=True)
    chosen = reading.selective[:FEATURES]
    # Those that go together stand together.
    chosen = chosen[np.argsort(reading.class_means[:shown, chosen].argmax(axis=0), kind="stable")]
    means = reading.class_means[:shown, chosen]
    reach = max(float(np.abs(means - 1).max()), LEAST_REACH)
    picture = left.imshow(means, cmap=DIVERGING, norm=CenteredNorm(1.0, reach), aspect="auto")
    left.set_title(f"mean weight of the {len(chosen)} most selective features on photos of each class", color=FAINT)
    left.set_xticks([])
    name_rows(left, list(classes[:shown]))
    bare(left)
    bar = part.colorbar(picture, ax=left, location="bottom", fraction=0.05, aspect=50)
    bar.set_ticks([1 - reach, 1, 1 + reach], labels=[f"{1 - reach:.2f}", "1: as it came", f"{1 + reach:.2f}"])
    bar.outline.set_visible(False)
    bars = right.barh(range(shown), 100 * reading.off[:shown], color=BLUE, height=0.72)
    right.bar_label(bars, fmt="%.1f", padding=3, color=FAINT)
    right.set_title(f"% of all features below {OFF:g}", color=FAINT)
    right.set_xlim(0, max(125 * float(reading.off[:shown].max()), 1.0))
    right.set_xticks([])
    bare(right)


def _exciting(part: SubFigure, reading: GateReading, paths: Sequence[str]) -> None:
    heading = "photos on which features weigh most: of the most selective those that tell different things"
    part.suptitle(heading, x=0.008, ha="left", fontsize=9.5, color=FAINT)
    cells = part.subplots(*reading.exciting.shape, squeeze=False)
    for line, feature, photos in zip(cells, reading.telling, reading.exciting, strict=True):
        for axes, photo in zip(line, photos, strict=True):
            show_photo(axes, paths[photo])
            axes.set_xticks([])
            axes.set_yticks([])
            bare(axes)
        line[0].set_ylabel(f"feature {feature}", color=VERMILION, rotation=0, ha="right", va="center")


def gate_text(reading: GateReading, classes: Sequence[str]) -> str:
    """What the figure shows, with its main numbers."""
    text = (
        f"Weights of a gate over the features, on the mean over photos between {reading.weights.min():.2f} and "
        f"{reading.weights.max():.2f} (1 leaves a feature as it came)."
    )
    if not reading.off.any():
        return f"{text} None is ever off (below {OFF:g})."
    most, least = int(reading.off.argmax()), int(reading.off.argmin())
    return (
        f"{text} On photos of {short(classes[most])} {100 * reading.off[most]:.1f}% of the features are off (below "
        f"{OFF:g}), on those of {short(classes[least])} {100 * reading.off[least]:.1f}%."
    )
