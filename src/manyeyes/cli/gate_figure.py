"""What ``manyeyes adapt --figure`` draws: what the gate over a domain's features says."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from manyeyes.cli.outputs import check_output

if TYPE_CHECKING:
    from manyeyes.adapt.adapting import Course
    from manyeyes.adapt.bank import DomainBank
    from manyeyes.adapt.plan import Plan


def check_figure(figure: Path, plan: "Plan", domains: int) -> None:
    """Raise what is wrong before hours of work."""
    from manyeyes.errors import ChoiceError

    if plan.gating is None or plan.gating.at != "pooled" or plan.gating.static or domains > 1:
        raise ChoiceError("--figure draws the gate over the features of one domain: --method gated, or …+gated")
    check_output(figure, "figure", "manyeyes.study.figures.gate", "study")


def draw(bank: "DomainBank", course: "Course", paths: tuple[str, ...], backbone: str, figure: Path) -> None:
    """What the gate says of all labelled photos that the domain came from."""
    import numpy as np

    from manyeyes.adapt.tasks.objective import UNLABELLED
    from manyeyes.adapt.training.task import feature_weights
    from manyeyes.study.feature_gate import read_gate
    from manyeyes.study.figures.gate import draw_gate, gate_text
    from manyeyes.study.figures.style import house_style, save

    rows = np.union1d(course.train, course.held)
    rows = rows[course.photos.labels[rows] != UNLABELLED]
    present, labels = np.unique(course.photos.labels[rows], return_inverse=True)
    classes = [course.photos.classes[one] for one in present]
    weights = feature_weights(bank, course.name, course.photos, rows).double().numpy()
    reading = read_gate(weights, labels.astype(np.int64))
    with house_style():
        title = f"What the feature gate lets through · {course.name}, {backbone}"
        save(draw_gate(reading, classes, [paths[row] for row in rows], title), figure.parent, figure.stem)
    typer.echo(f"{gate_text(reading, classes)} Drawn in {figure.with_suffix('.svg')}")
