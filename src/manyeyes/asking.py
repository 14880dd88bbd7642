"""What a model says of photos that it looks at: with all backbones, or, in a cascade, with as few as each wants."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from manyeyes.backbones.backbone import Backbone
from manyeyes.errors import PhotoSourceError
from manyeyes.features.extract import Extraction
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.cascade import Cascade
from manyeyes.fusion.fusion import Fusion
from manyeyes.images import Rejected

Index = npt.NDArray[np.int64]
Looking = Callable[[Sequence[str], Sequence[Backbone]], Extraction]


@dataclass(frozen=True)
class Answer:
    """Photos, by their rows, that ``fusion`` was the last to be asked about, and what it looked at."""

    rows: Index
    fusion: Fusion
    table: FeatureTable


@dataclass(frozen=True)
class Asked:
    """log_proba : (n, C), of the n photos that could be read. answers : who answered, each photo in one of them.
    is_good : of each path, whether it could be read. rejected : what could not."""

    log_proba: npt.NDArray[np.float64]
    answers: tuple[Answer, ...]
    is_good: npt.NDArray[np.bool_]
    rejected: tuple[Rejected, ...]


def ask(fusion: Fusion, backbones: Sequence[Backbone], paths: Sequence[str], look: Looking) -> Asked:
    """Ask a fusion about photos. ``backbones`` are all that it was fitted with; ``look`` lets some of them see some."""
    if isinstance(fusion, Cascade):
        return _ask_in_turn(fusion, {one.card.name: one for one in backbones}, paths, look)
    seen = look(paths, backbones)
    log_proba = fusion.predict_log_proba(seen.table) if seen.is_good.any() else np.empty((0, len(fusion.classes_)))
    return Asked(log_proba, (Answer(np.arange(len(log_proba)), fusion, seen.table),), seen.is_good, seen.rejected)


def _ask_in_turn(cascade: Cascade, backbones: dict[str, Backbone], paths: Sequence[str], look: Looking) -> Asked:
    first = look(paths, [backbones[cascade.order_[0]]])
    good = [path for path, is_good in zip(paths, first.is_good, strict=True) if is_good]
    asked = Answer(np.arange(len(good)), cascade.stages_[0], first.table)
    answers = []

    def further(number: int, rows: Index) -> FeatureTable:
        nonlocal asked
        if number:
            stays = np.isin(asked.rows, rows)
            answers.append(Answer(asked.rows[~stays], asked.fusion, asked.table[~stays]))
            more = look([good[row] for row in rows], [backbones[cascade.order_[number]]])
            if more.rejected:
                raise PhotoSourceError(f"{more.rejected[0].path} could be read, and then no more: try again")
            asked = Answer(rows, cascade.stages_[number], asked.table[stays].beside(more.table))
        return asked.table

    log_proba = cascade.run(len(good), further).log_proba
    answers = [one for one in (*answers, asked) if len(one.rows)]
    return Asked(log_proba, tuple(answers), first.is_good, first.rejected)
