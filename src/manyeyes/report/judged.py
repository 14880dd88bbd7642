"""What a model said of labelled photos: all that a report is made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manyeyes.features.extract import Extraction
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.cascade import Cascade
from manyeyes.images import Rejected
from manyeyes.predictions import Vote, votes_of

if TYPE_CHECKING:
    from manyeyes.classifier import ManyEyesClassifier

FloatArray = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
FUSED = "all together"


@dataclass(frozen=True)
class Judged:
    """n photos, whose classes are ``labels`` (n,), numbers of ``classes``.

    paths : to read them by. log_proba : what the model says, (n, C). opinions : by expert, log-probabilities (n, C).
    votes : of the experts on some photos, by their rows. asked : how many backbones a cascade asked, (n,), or None.
    table, photos : features, and the sha256 of each file. is_new : whether the model was not trained on these photos,
    or its training photos are judged by what had not seen them.
    """

    classes: tuple[str, ...]
    labels: Index
    paths: tuple[str, ...]
    log_proba: FloatArray
    opinions: dict[str, FloatArray]
    votes: Callable[[Index], Sequence[tuple[Vote, ...]]]
    asked: Index | None
    table: FeatureTable
    photos: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    is_new: npt.NDArray[np.bool_]

    @property
    def predicted(self) -> Index:
        said: Index = self.log_proba.argmax(axis=1)
        return said

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        right: npt.NDArray[np.bool_] = self.predicted == self.labels
        return right

    @property
    def disagree(self) -> npt.NDArray[np.bool_]:
        """Photos of which not all experts say the same."""
        said = np.stack([one.argmax(axis=1) for one in (self.log_proba, *self.opinions.values())])
        differ: npt.NDArray[np.bool_] = (said != said[0]).any(axis=0)
        return differ


def judge(model: "ManyEyesClassifier", seen: Extraction, labels: Index, paths: Sequence[str]) -> Judged:
    """Ask a model about photos that all its backbones have looked at, ``paths`` being those of its rows."""
    fusion = model.fusion_
    names = tuple(str(name) for name in model.classes_)
    whole = fusion.stages_[-1] if isinstance(fusion, Cascade) else fusion
    run = fusion.run_on(seen.table) if isinstance(fusion, Cascade) else None
    return Judged(
        names,
        labels,
        tuple(paths),
        run.log_proba if run else fusion.predict_log_proba(seen.table),
        whole.opinions(seen.table),
        lambda rows: votes_of(whole, seen.table[rows], names),
        run.stages + 1 if run else None,
        seen.table,
        seen.photos,
        seen.rejected,
        ~model.was_trained_on(seen),
    )


def judge_training(
    model: "ManyEyesClassifier", seen: Extraction, labels: Index, paths: Sequence[str], learnt: Sequence[str]
) -> Judged:
    """The photos that a model has just been fitted to, by what it knew without them. Those that all of it had seen are
    left out, and those, by sha256, that its backbones have ``learnt`` from."""
    fusion = model.fusion_
    opinions = fusion.honest_opinions()
    is_known = np.isfinite([fusion.out_of_fold_, *opinions.values()]).all(axis=(0, 2))
    known = np.flatnonzero(is_known & ~np.isin(seen.photos, learnt))
    said, some = {name: one[known] for name, one in opinions.items()}, seen.select(known)
    names = tuple(str(name) for name in model.classes_)

    def vote(expert: str, row: int) -> Vote:
        one = said[expert][row]
        return Vote(expert, names[one.argmax()], float(np.exp(one.max())), None, {})

    return Judged(
        names,
        labels[known],
        tuple(paths[row] for row in known.tolist()),
        fusion.out_of_fold_[known],
        said,
        lambda rows: [tuple(vote(expert, row) for expert in said) for row in rows.tolist()],
        None,
        some.table,
        some.photos,
        seen.rejected,
        np.ones(len(some.photos), bool),
    )
