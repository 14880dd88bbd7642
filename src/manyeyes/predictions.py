"""What a model says of each photo, and why: the class, its probability, every backbone's vote and the gate's weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from manyeyes.experts.panel import ExpertPanel
from manyeyes.fusion.mixture import MixtureOfExperts
from manyeyes.images import Rejected

if TYPE_CHECKING:
    from manyeyes.classifier import ManyEyesClassifier


@dataclass(frozen=True)
class Vote:
    """What one backbone's expert says, and how much the gate lets it count (None where the fusion has no gate)."""

    backbone: str
    label: str
    probability: float
    weight: float | None


@dataclass(frozen=True)
class Prediction:
    """One photo's class and calibrated probability; ``probabilities`` of all classes; the votes behind it."""

    path: str
    label: str
    probability: float
    probabilities: dict[str, float]
    votes: tuple[Vote, ...]


def predictions(model: "ManyEyesClassifier", paths: Sequence[str]) -> list[Prediction | Rejected]:
    """The outcome for each path, in order: a prediction, or why the file could not be read."""
    seen = model.look(paths)
    outcomes: list[Prediction | Rejected] = []
    rejected = iter(seen.rejected)
    made = iter(_predict(model, [path for path, good in zip(paths, seen.is_good, strict=True) if good], seen.table))
    for good in seen.is_good:
        outcomes.append(next(made) if good else next(rejected))
    return outcomes


def _predict(model: "ManyEyesClassifier", paths: list[str], table) -> list[Prediction]:  # type: ignore[no-untyped-def]
    if not paths:
        return []
    fusion, names = model.fusion_, [str(name) for name in model.classes_]
    probabilities = fusion.predict_proba(table)
    panel: ExpertPanel | None = getattr(fusion, "panel_", None)
    opinions = None if panel is None else np.exp(panel.log_proba(table))
    weights = fusion.gate_weights(table) if isinstance(fusion, MixtureOfExperts) else None
    made = []
    for row, path in enumerate(paths):
        votes = []
        for k, backbone in enumerate(fusion.blocks_ if opinions is not None else []):
            opinion = opinions[row, k]
            weight = None if weights is None else float(weights[row, k])
            votes.append(Vote(backbone, names[opinion.argmax()], float(opinion.max()), weight))
        best = int(probabilities[row].argmax())
        everything = {name: float(p) for name, p in zip(names, probabilities[row], strict=True)}
        made.append(Prediction(path, names[best], float(probabilities[row, best]), everything, tuple(votes)))
    return made
