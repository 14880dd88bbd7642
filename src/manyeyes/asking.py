"""What a model says of photos that it looks at: with all backbones, or, in a cascade, with as few as each wants."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from manyeyes.backbones.backbone import Backbone
from manyeyes.errors import (
    CardError,
    EngineError,
    FetchError,
    LackingBackboneError,
    MissingExtraError,
    OfflineError,
)
from manyeyes.features.darkroom import Darkroom
from manyeyes.features.extract import Extraction
from manyeyes.features.table import FeatureTable, backbone_of
from manyeyes.fusion.cascade import PART, Cascade
from manyeyes.fusion.fusion import Fusion
from manyeyes.images import Rejected
from manyeyes.turns import Way, ways

Index = npt.NDArray[np.int64]
# Why a backbone cannot look, though others may. Weights that are not what they should be are another matter.
FAILURES = (CardError, EngineError, FetchError, MissingExtraError, OfflineError)
# Bytes of photos' pixels that are kept for the later stages of a cascade.
ROOM = 2**30
Looking = Callable[[Sequence[str], Sequence[Backbone], Darkroom | None], Extraction]


class LostBackboneWarning(UserWarning):
    """A backbone cannot look, and answers go by the others: they are less sure."""


@dataclass(frozen=True)
class Answer:
    """Photos, by their rows, that ``fusion`` was the last to be asked about, and what it looked at."""

    rows: Index
    fusion: Fusion
    table: FeatureTable


@dataclass(frozen=True)
class Asked:
    """log_proba : (n, C), of the n photos that could be read. answers : who answered, each photo in one of them.
    is_good : of each path, whether it could be read. rejected : what could not. lost : backbones that could not look,
    by name, and why. ways : of each photo, how a cascade came to its answer; none of other fusions."""

    log_proba: npt.NDArray[np.float64]
    answers: tuple[Answer, ...]
    is_good: npt.NDArray[np.bool_]
    rejected: tuple[Rejected, ...]
    ways: tuple[Way, ...] = ()
    lost: dict[str, str] = field(default_factory=dict)


def ask_as_can(
    fusion: Fusion, backbones: Sequence[Backbone], paths: Sequence[str], look: Looking, lost: Mapping[str, Exception]
) -> Asked:
    """Ask a fusion about photos with those of its backbones that can look, and warn of the others.

    ``backbones`` are those of which nothing is known yet to the contrary, ``lost`` the others; ``look`` lets some see
    some photos. Raises LackingBackboneError where the fusion can say nothing without those that are lost.
    """
    lost = dict(lost)
    while True:
        able = [one for one in backbones if one.card.name not in lost]
        try:
            left = fusion.without({name for name in fusion.blocks_ if backbone_of(name) in lost})
            asked = _ask(left, able, paths, look)
        except LackingBackboneError as lacking:
            raise LackingBackboneError(f"{lacking}: {'; '.join(map(str, lost.values()))}") from None
        except FAILURES:
            broken = {one.card.name: error for one in able if (error := _what_breaks(one))}
            if not broken or len(broken) == len(able):
                raise
            lost |= broken
            continue
        for name, error in lost.items():
            words = f"{name} cannot look, and answers go by the other backbones: {error}"
            warnings.warn(words, LostBackboneWarning, stacklevel=4)
        return replace(asked, lost={name: str(error) for name, error in lost.items()})


def _what_breaks(backbone: Backbone) -> Exception | None:
    try:
        _ = backbone.encoder
    except FAILURES as error:
        return error
    return None


def _ask(fusion: Fusion, backbones: Sequence[Backbone], paths: Sequence[str], look: Looking) -> Asked:
    if isinstance(fusion, Cascade):
        named = {one.card.name: one for one in backbones}
        parts = [paths[start : start + PART] for start in range(0, max(len(paths), 1), PART)]
        return _joined([_ask_in_turn(fusion, named, part, look) for part in parts])
    seen = look(paths, backbones, None)
    log_proba = fusion.predict_log_proba(seen.table) if seen.is_good.any() else np.empty((0, len(fusion.classes_)))
    return Asked(log_proba, (Answer(np.arange(len(log_proba)), fusion, seen.table),), seen.is_good, seen.rejected)


def _ask_in_turn(cascade: Cascade, backbones: dict[str, Backbone], paths: Sequence[str], look: Looking) -> Asked:
    darkroom = Darkroom(ROOM if len(cascade.stages_) > 1 else 0)
    first = look(paths, [backbones[cascade.order_[0]]], darkroom)
    good = np.array(paths, object)[first.is_good]
    asked = Answer(np.arange(len(good)), cascade.stages_[0], first.table)
    answers = []

    def further(number: int, rows: Index) -> tuple[Index, FeatureTable]:
        nonlocal asked
        if number:
            darkroom.forget_all_but({first.photos[row] for row in rows})
            more = look(good[rows].tolist(), [backbones[cascade.order_[number]]], darkroom)
            rows = rows[more.is_good]  # of a file that is gone by now there is the answer so far
            stays = np.isin(asked.rows, rows)
            answers.append(Answer(asked.rows[~stays], asked.fusion, asked.table[~stays]))
            asked = Answer(rows, cascade.stages_[number], asked.table[stays].beside(more.table))
        return rows, asked.table

    run = cascade.run(len(good), further)
    answers = [one for one in (*answers, asked) if len(one.rows)]
    how = ways(cascade, run)
    return Asked(run.log_proba, tuple(answers), first.is_good, first.rejected, tuple(how))


def _joined(parts: Sequence[Asked]) -> Asked:
    """What was asked about some photos and then about others, as one."""
    starts = np.cumsum([0, *(len(part.log_proba) for part in parts)])
    return Asked(
        np.concatenate([part.log_proba for part in parts]),
        tuple(
            replace(one, rows=one.rows + start)
            for part, start in zip(parts, starts, strict=False)
            for one in part.answers
        ),
        np.concatenate([part.is_good for part in parts]),
        tuple(one for part in parts for one in part.rejected),
        tuple(one for part in parts for one in part.ways),
    )
