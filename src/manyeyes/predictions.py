"""What a model says of each photo, and why: its class and probability, the backbones' votes, the gate's weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manyeyes.asking import Looking
from manyeyes.features.table import FeatureTable, backbone_of, tap_of
from manyeyes.fusion.auto import Auto
from manyeyes.fusion.fusion import Fusion
from manyeyes.fusion.mixture import MixtureOfExperts
from manyeyes.images import Rejected
from manyeyes.turns import Turn

if TYPE_CHECKING:
    from manyeyes.classifier import ManyEyesClassifier

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Vote:
    """What one expert says, and how much that counts.

    weight : what the gate gives it (None where the fusion has no gate). contributions : of the backbone's taps, where
    the fusion tells: what each adds to the log-odds of the predicted class over the runner-up.
    """

    backbone: str
    label: str
    probability: float
    weight: float | None
    contributions: dict[str, float]


@dataclass(frozen=True)
class Prediction:
    """One photo's class and calibrated probability; ``probabilities`` of all classes; the votes behind it; ``lost``,
    backbones that could not look, and why. Of a model with a budget: ``turns``, who was asked, one after the other, and
    why nobody else was."""

    path: str
    label: str
    probability: float
    probabilities: dict[str, float]
    votes: tuple[Vote, ...]
    lost: dict[str, str]
    turns: tuple[Turn, ...] = ()
    stopped: str = ""


def predictions(
    model: "ManyEyesClassifier", paths: Sequence[str], look: Looking | None = None
) -> list[Prediction | Rejected]:
    """The outcome for each path, in order: a prediction, or why the file could not be read. ``look`` as of ``ask``."""
    asked = model.ask(paths, look)
    good = [path for path, is_good in zip(paths, asked.is_good, strict=True) if is_good]
    names = [str(name) for name in model.classes_]
    made: dict[int, Prediction] = {}
    for answer in asked.answers:
        for row, cast in zip(answer.rows.tolist(), votes_of(answer.fusion, answer.table, names), strict=True):
            said = np.exp(asked.log_proba[row])
            probabilities = dict(zip(names, said.tolist(), strict=True))
            how = (asked.ways[row].turns, asked.ways[row].stopped) if asked.ways else ()
            made[row] = Prediction(
                good[row], names[said.argmax()], float(said.max()), probabilities, cast, asked.lost, *how
            )
    predicted, rejected = (made[row] for row in range(len(good))), iter(asked.rejected)
    return [next(predicted) if is_good else next(rejected) for is_good in asked.is_good]


def votes_of(fusion: Fusion, table: FeatureTable, names: Sequence[str]) -> list[tuple[Vote, ...]]:
    """For each photo every expert's vote; none where the fusion has no experts of its own for each backbone."""
    if not len(table):
        return []
    opinions = fusion.opinions(table)
    weights = fusion.gate_weights(table) if isinstance(fusion, MixtureOfExperts) else None
    contributions = fusion.contributions(table) if isinstance(fusion, Auto) else np.empty((len(table), 0))
    return [
        tuple(
            Vote(
                name,
                names[said[row].argmax()],
                float(np.exp(said[row].max())),
                None if weights is None else float(weights[row, k]),
                _of_backbone(name, fusion.blocks_, contributions[row]),
            )
            for k, (name, said) in enumerate(opinions.items())
        )
        for row in range(len(table))
    ]


def _of_backbone(name: str, blocks: list[str], contributions: FloatArray) -> dict[str, float]:
    return {
        tap_of(block): float(contribution)
        for block, contribution in zip(blocks, contributions, strict=False)
        if backbone_of(block) == name
    }
