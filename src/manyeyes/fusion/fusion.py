"""What every fusion is: a scikit-learn classifier on a feature table, or on a plain array as its only block."""

from abc import abstractmethod
from collections.abc import Collection, Sequence
from copy import copy
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.utils.validation import (
    assert_all_finite,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from manyeyes.backbones.nets import FINAL
from manyeyes.errors import LackingBackboneError
from manyeyes.experts import ClassWeight, FloatArray, Groups
from manyeyes.experts.calibration import fit_temperature, tempered
from manyeyes.experts.classifier import LogProbaClassifier
from manyeyes.experts.lesson import Lesson
from manyeyes.experts.panel import ExpertPanel, Member
from manyeyes.features.table import FeatureTable, backbone_of
from manyeyes.label_space.embedding import is_label_block


class Fusion(LogProbaClassifier):
    """Fits on all blocks at once; its probabilities are calibrated by a temperature on out-of-fold outputs.

    With a ``class_weight`` they hold where classes occur as often as they were weighed, not as often as in training.

    Attributes
    ----------
    classes_ : (C,), sorted.
    blocks_, widths_ : names of the table's blocks, in order, and how many columns each has.
    temperature_ : what the log-probabilities are divided by.
    out_of_fold_ : (n, C) calibrated log-probabilities of the training rows by what had not seen them, NaN where all
        had. A saved fusion forgets them.
    """

    # Where the backbones are read whose blocks it uses, if the table has them.
    taps: tuple[str, ...] = (FINAL,)

    class_weight: ClassWeight
    random_state: int

    def fit(self, X: Any, y: Any, groups: Groups | None = None, judges: npt.NDArray[np.bool_] | None = None) -> Self:
        """Fit to a feature table (or an (n, D) array) and labels (n,).

        Rows that share one of ``groups`` (n,) are never on both sides of an inner fold; gate and calibration go by
        those of ``judges`` (n,) only: see :class:`manyeyes.experts.lesson.Lesson`.
        """
        if isinstance(X, FeatureTable):
            check_consistent_length(X, y)
            y = column_or_1d(y, warn=True)
            table = X
        else:
            X, y = validate_data(self, X, y, dtype=[np.float32, np.float64])
            table = FeatureTable({"features": X})
        self._learn_classes(y)
        return self.fit_lesson(Lesson(table, y, groups, self.class_weight, self.random_state, judges=judges))

    def fit_lesson(self, lesson: Lesson) -> Self:
        """Fit to a lesson that several fusions share, so that the experts which they share are fitted only once."""
        if (lesson.class_weight, lesson.random_state) != (self.class_weight, self.random_state):
            raise ValueError(
                f"the lesson has class_weight={lesson.class_weight!r} and random_state={lesson.random_state}, "
                f"{type(self).__name__} has class_weight={self.class_weight!r} and random_state={self.random_state}"
            )
        self._prepare(lesson)
        self._calibrate(lesson, self._fit(lesson))
        return self

    def without(self, blocks: Collection[str]) -> Self:
        """What is left of a fitted fusion where nobody can make some of its blocks: it sees nothing in their place.

        Raises LackingBackboneError when that is nothing.
        """
        kept = [place for place, name in enumerate(self.blocks_) if name not in blocks]
        if len(kept) == len(self.blocks_):
            return self
        # Remembered: what it makes when it first predicts is not made for every photo anew.
        known: dict[tuple[int, ...], Self] = self.__dict__.setdefault("_left", {})
        if tuple(kept) not in known:
            known[tuple(kept)] = self._with_only(kept)
        return known[tuple(kept)]

    def _with_only(self, kept: list[int]) -> Self:
        other = copy(self)
        del other.__dict__["_left"]
        other.blocks_, other.widths_ = [self.blocks_[k] for k in kept], [self.widths_[k] for k in kept]
        if not kept or not other._keep_blocks(kept):
            lost = ", ".join(dict.fromkeys(backbone_of(name) for name in self.blocks_ if name not in other.blocks_))
            raise LackingBackboneError(f"{type(self).__name__} can say nothing without {lost}")
        other.n_features_in_ = sum(other.widths_)
        return other

    def _keep_blocks(self, kept: list[int]) -> bool:
        """Leave out what wants other blocks than these, by their places; ``blocks_`` has no others any more. False when
        nothing is left."""
        return False

    def fit_nested(self, lesson: Lesson, prefixes: Sequence[Sequence[str]]) -> "list[Fusion]":
        """Fusions like this one, fitted to the blocks of these names, each list of which begins as the one before."""
        return [clone(self).fit_lesson(lesson.of_blocks(names)) for names in prefixes]

    def share_with(self, others: "Sequence[Fusion]") -> None:
        """Let others, which were fitted with this one by :meth:`fit_nested`, use what it makes when it first predicts
        and they would make too."""

    def watch(self) -> "Watch":
        """For asking in turn those that were fitted with this one by :meth:`fit_nested`, about ever fewer photos."""
        return Watch()

    def _prepare(self, lesson: Lesson) -> None:
        """Take down what the lesson is about."""
        self.classes_ = lesson.classes
        self.blocks_ = lesson.table.names_of(self.taps)
        if not self.blocks_:
            raise ValueError(f"{type(self).__name__} wants blocks of {' or '.join(self.taps)} features, found none")
        self.widths_ = [lesson.table.blocks[name].shape[1] for name in self.blocks_]
        self.n_features_in_ = sum(self.widths_)
        _assert_finite(lesson.table, self.blocks_)

    def _calibrate(self, lesson: Lesson, honest: FloatArray) -> None:
        """Find the temperature by log-probabilities as :meth:`_fit` returns them."""
        is_judged = np.isfinite(honest).all(axis=1)
        if is_judged.any():
            self.temperature_ = fit_temperature(honest[is_judged], lesson.labels[is_judged], lesson.weights[is_judged])
        else:
            self.temperature_ = 1.0
        self.out_of_fold_ = tempered(honest, self.temperature_)

    def predict_log_proba(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        return tempered(self._log_proba(self._table(X)), self.temperature_)

    def opinions(self, X: Any) -> dict[str, FloatArray]:
        """What each expert says by itself, by its name: log-probabilities (n, C). None where there is but one."""
        return {}

    def honest_opinions(self) -> dict[str, FloatArray]:
        """The same of the training rows, by what had not seen them, as ``out_of_fold_``: a fusion that was saved has
        forgotten them."""
        return {}

    @abstractmethod
    def _fit(self, lesson: Lesson) -> FloatArray:
        """Learn from the blocks of ``blocks_``.

        Return log-probabilities (n, C) of the training rows by what had not seen them, NaN for rows that all saw.
        """

    @abstractmethod
    def _log_proba(self, table: FeatureTable) -> FloatArray:
        """Log-probabilities before calibration: (n, C)."""

    def _table(self, X: Any) -> FeatureTable:
        if not isinstance(X, FeatureTable):
            X = FeatureTable({"features": validate_data(self, X, reset=False, dtype=[np.float32, np.float64])})
        if missing := set(self.blocks_) - set(X.names):
            raise ValueError(f"the feature table lacks the blocks {', '.join(sorted(missing))}")
        table: FeatureTable = X if list(X.names) == self.blocks_ else X.select(self.blocks_)
        if table.shape[1] != self.n_features_in_:
            raise ValueError(
                f"the blocks {', '.join(self.blocks_)} have {table.shape[1]} features in this table, "
                f"{type(self).__name__} was fitted on {self.n_features_in_}"
            )
        _assert_finite(table, self.blocks_)
        return table


class Watch:
    """What fusions that are asked in turn need not find out again of the same photos."""

    def say(self, fusion: Fusion, table: FeatureTable, kept: npt.NDArray[np.int64]) -> FloatArray:
        """What a fusion says of photos, (n, C), whose places among those before are ``kept`` (n,)."""
        return fusion.predict_log_proba(table)


class PanelFusion(Fusion):
    """A fusion of experts, whose out-of-fold opinions it learns from.

    Attributes (beside those of every fusion)
    ----------
    panel_ : the fitted experts.
    """

    expert: str
    panel_: ExpertPanel

    def _members(self) -> Sequence[Member]:
        """Who sits on the panel: unless said otherwise, one expert for each block."""
        return [(self.expert, (name,)) for name in self.blocks_]

    def _fit(self, lesson: Lesson) -> FloatArray:
        self.panel_ = ExpertPanel(tuple(self._members())).fit(lesson)
        return self._fit_to_opinions(lesson, self.panel_.out_of_fold_)

    def opinions(self, X: Any) -> dict[str, FloatArray]:
        check_is_fitted(self)
        said = self.panel_.log_proba(self._table(X))
        return {name: said[:, k] for k, name in enumerate(self.panel_.names_)}

    def honest_opinions(self) -> dict[str, FloatArray]:
        return {name: self.panel_.out_of_fold_[:, k] for k, name in enumerate(self.panel_.names_)}

    def _keep_blocks(self, kept: list[int]) -> bool:
        # An expert with a label space sees its backbone's own block too.
        able = [
            k
            for k, (_, names) in enumerate(self.panel_.members)
            if all(name in self.blocks_ or is_label_block(name) for name in names)
        ]
        if able:
            self.panel_ = self.panel_.of(able)
            self._keep_experts(able)
        return bool(able)

    @abstractmethod
    def _keep_experts(self, kept: list[int]) -> None:
        """Forget what is about other experts than these, by their numbers; they are all that is left on the panel."""

    @abstractmethod
    def _fit_to_opinions(self, lesson: Lesson, opinions: FloatArray) -> FloatArray:
        """Learn from the experts' out-of-fold log-probabilities (n, K, C); return the fusion's, (n, C)."""


def _assert_finite(table: FeatureTable, names: Sequence[str]) -> None:
    for name in names:
        assert_all_finite(table.blocks[name], input_name=name)
