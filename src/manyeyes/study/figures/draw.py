"""All figures of a study that make sense for it, each with what it shows in words; and which were left out, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from manyeyes.experts.gated import GatedSoftmax
from manyeyes.features.table import FeatureTable
from manyeyes.study.agreement import disagreement
from manyeyes.study.confusion import most_confused
from manyeyes.study.feature_gate import read_gate
from manyeyes.study.figures.accuracy import draw_accuracy
from manyeyes.study.figures.agreement import draw_disagreement, draw_kappa, draw_rescue
from manyeyes.study.figures.captions import (
    PAIR_TEXT,
    accuracy_text,
    contributions_text,
    disagreement_text,
    f1_text,
    kappa_text,
    rescue_text,
    weights_text,
    won_text,
)
from manyeyes.study.figures.classes import (
    draw_class_f1,
    draw_classes_won,
    draw_contributions,
    draw_gate_weights,
    explained,
)
from manyeyes.study.figures.gate import draw_gate, gate_text
from manyeyes.study.figures.pair import draw_pair
from manyeyes.study.figures.style import house_style, save
from manyeyes.study.methods import AUTO, Kind, single
from manyeyes.study.outcomes import Outcomes

# Fusions that stand beside the backbones in figures on classes: the paper's gates, and ours.
FUSED = ("mixture-embedding", "mixture-cnn32", AUTO)


@dataclass(frozen=True)
class Drawn:
    """A figure that was written as ``figures/<name>.svg`` and ``.png``, and what it shows."""

    name: str
    heading: str
    text: str


@dataclass(frozen=True)
class Gallery:
    drawn: tuple[Drawn, ...]
    left_out: tuple[str, ...]


class _Hanging:
    """A gallery in the making."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drawn: list[Drawn] = []
        self.left_out: list[str] = []

    def show(self, name: str, heading: str, text: str, figure: Figure) -> None:
        save(figure, self.folder, name)
        self.drawn.append(Drawn(name, heading, text))

    def leave_out(self, what: str, reason: str) -> None:
        self.left_out.append(f"{what}: {reason}")


def draw_all(outcomes: Outcomes, table: FeatureTable, paths: Sequence[str], title: str, folder: Path) -> Gallery:
    """Draw everything into the folder. ``table`` and ``paths`` are row for row what the outcomes are about."""
    wall = _Hanging(folder)
    with house_style():
        wall.show("accuracy", "Accuracy of every method", accuracy_text(outcomes), draw_accuracy(outcomes, title))
        backbones = compared_backbones(outcomes)
        if len(backbones) < 2:
            wall.leave_out("what backbones agree on", "fewer than two were compared alone")
        else:
            _show_agreement(wall, outcomes, backbones, title)
            _show_classes(wall, outcomes, backbones, title)
            _show_pair(wall, outcomes, backbones, table, paths, title)
        _show_shares(wall, outcomes, title)
        _show_gates(wall, outcomes, table, paths, title)
    return Gallery(tuple(wall.drawn), tuple(wall.left_out))


def compared_backbones(outcomes: Outcomes) -> list[str]:
    """The backbones alone, with the expert that most of them were tried with; among equals the first."""
    by_expert: dict[str, list[str]] = {}
    for name in outcomes.names(Kind.SINGLE):
        by_expert.setdefault(outcomes.method(name).expert, []).append(name)
    return max(by_expert.values(), key=len, default=[])


def _show_agreement(wall: _Hanging, outcomes: Outcomes, backbones: Sequence[str], title: str) -> None:
    wall.show(
        "kappa",
        "Agreement between backbones (the paper's fig. 2)",
        kappa_text(outcomes, backbones),
        draw_kappa(outcomes, backbones, title),
    )
    wall.show(
        "backbones-right",
        "How many backbones are right at once (the paper's fig. 3)",
        rescue_text(outcomes, backbones),
        draw_rescue(outcomes, backbones, title),
    )
    where = disagreement(outcomes, backbones)
    if where.any():
        wall.show(
            "disagreement",
            "Where the backbones disagree",
            disagreement_text(outcomes, where),
            draw_disagreement(outcomes, backbones, title),
        )
    else:
        wall.leave_out("accuracy where the backbones disagree", "they say the same of every photo")


def _show_classes(wall: _Hanging, outcomes: Outcomes, backbones: Sequence[str], title: str) -> None:
    fused = [name for name in FUSED if name in outcomes.names()]
    figure = draw_class_f1(outcomes, backbones, fused, title)
    if figure is None:
        wall.leave_out("classes that different backbones win", "none alone has the best F1 on any class")
    else:
        heading = "Classes that different backbones win (the paper's fig. 4)"
        wall.show("class-f1", heading, f1_text(outcomes, backbones), figure)
    wall.show(
        "classes-won",
        "Classes won (the paper's fig. 5)",
        won_text(outcomes, backbones, fused),
        draw_classes_won(outcomes, backbones, fused, title),
    )


def _show_pair(
    wall: _Hanging, outcomes: Outcomes, backbones: Sequence[str], table: FeatureTable, paths: Sequence[str], title: str
) -> None:
    pair = most_confused(outcomes, backbones)
    if pair is None:
        wall.leave_out("the most confused pair of classes", "no backbone took any photo for another class")
        return
    heading = "The most confused pair of classes (the paper's fig. 6)"
    wall.show("confused-pair", heading, PAIR_TEXT, draw_pair(outcomes, pair, backbones, table, paths, title))


def _show_gates(wall: _Hanging, outcomes: Outcomes, table: FeatureTable, paths: Sequence[str], title: str) -> None:
    """The feature gate of that backbone to which it gives most, trained on all photos."""
    accuracy = {one.method.name: one.mean("accuracy") for one in outcomes.results() if one.scores}
    gains = {
        name: accuracy[name] - accuracy[plain]
        for name in outcomes.names(Kind.SINGLE)
        if outcomes.method(name).expert == "gated"
        and (plain := single(outcomes.method(name).backbone, "softmax").name) in accuracy
    }
    if not gains:
        return
    name = max(gains, key=lambda name: gains[name])
    block, columns = outcomes.method(name).backbone, table.blocks[outcomes.method(name).backbone]
    gated = GatedSoftmax((columns.shape[1],)).fit(columns, outcomes.labels, outcomes.groups)
    if not gated.epochs_:
        return wall.leave_out(
            f"the feature gate of {block}", "it stays at 1, where a gate stays without evidence of a gain"
        )
    reading = read_gate(gated.gate_weights(columns), outcomes.labels)
    figure = draw_gate(reading, outcomes.classes, paths, f"What the feature gate of {block} lets through · {title}")
    wall.show(f"feature-gate-{block}", f"The feature gate of {block}", gate_text(reading, outcomes.classes), figure)


def _show_shares(wall: _Hanging, outcomes: Outcomes, title: str) -> None:
    for name in explained(outcomes, Kind.MIXTURE):
        if name in FUSED:
            figure = draw_gate_weights(outcomes, name, title)
            wall.show(f"weights-{name}", f"Mean weights of {name}", weights_text(name), figure)
    for name in FUSED:
        if name in outcomes.names(Kind.MIXTURE) and name not in explained(outcomes, Kind.MIXTURE):
            wall.leave_out(
                f"the weights of {name}",
                "they are the same for all classes, which is where a gate stays without evidence of a gain",
            )
    for name in explained(outcomes, Kind.OURS):
        figure = draw_contributions(outcomes, name, title)
        wall.show(f"contributions-{name}", f"What {name} rests on", contributions_text(name), figure)
