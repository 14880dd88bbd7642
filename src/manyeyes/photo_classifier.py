"""What a fitted classifier does: it looks at photos with the backbones it was fitted with, and says what they show."""

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from manyeyes.asking import FAILURES, Asked, Looking, ask_as_can
from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import PrecisionChoice
from manyeyes.backbones.weights import undeclared
from manyeyes.errors import BundleError
from manyeyes.features.darkroom import Darkroom
from manyeyes.features.extract import Extraction, extract
from manyeyes.features.store import FeatureStore
from manyeyes.fusion.cascade import Cascade
from manyeyes.fusion.fusion import Fusion
from manyeyes.fusion.mixture import MixtureOfExperts
from manyeyes.home import network_off
from manyeyes.images import Rejected, warn_rejected

# Where backbones came from that a user had as a file: a bundle tells nobody where that lay.
LOCAL = "a local file"

FloatArray = npt.NDArray[np.float64]
Paths = Sequence[str | os.PathLike[str]]


class PhotoClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The part of :class:`manyeyes.classifier.ManyEyesClassifier` that its user needs once it is fitted.

    A photo that cannot be read keeps its place in predictions, with NaN probabilities and None for its class, and warns
    with :class:`manyeyes.images.RejectedPhotoWarning`.
    """

    # How it looks at photos: parameters of whoever can be fitted.
    offline: bool
    accept_undeclared_licence: bool
    engine: str
    precision: PrecisionChoice
    batch_size: int | None
    features: str | os.PathLike[str] | None

    fusion_: Fusion
    classes_: npt.NDArray[Any]
    cards_: tuple[Card, ...]
    weights_: dict[str, str]
    photos_: npt.NDArray[np.uint64]
    facts_: dict[str, Any]

    @property
    def is_adapted(self) -> bool:
        """Whether its backbones were adapted to the photos it was fitted to: then nobody else has them."""
        return "adapted" in self.facts_

    def look(self, X: Paths) -> Extraction:
        """Features of the photos at paths ``X``: from the cache where it has them, else by looking at the photos.

        Raises LicenceError for backbones that were made of weights whose publisher declares no licence, until that is
        accepted.
        """
        self._check_accepted()
        return self._extract(X, [self._same(card) for card in self.cards_])

    def ask(self, X: Paths, look: Looking | None = None) -> Asked:
        """What it says of the photos at paths ``X``, and who was asked: of a cascade as few backbones as each photo
        wants. ``look`` lets backbones see photos that are no files, or whose features are kept elsewhere.

        A backbone that cannot look, because its weights are not to be had, say, is done without, with a
        :class:`manyeyes.asking.LostBackboneWarning`. Raises as :meth:`look`, LackingBackboneError where the fusion can
        say nothing without it, and what the first says when none can look.
        """
        self._check_accepted()
        able, lost = list[Backbone](), dict[str, Exception]()
        for card in self.cards_:
            try:
                able.append(self._same(card))
            except FAILURES as error:
                lost[card.name] = error
        if not able:
            raise next(iter(lost.values()))
        return ask_as_can(self.fusion_, able, as_paths(X), look or self._extract, lost)

    def get_ready(self, photos: int) -> None:
        """Build the networks now, as it pays for so many photos, so that none has to wait for them.

        A backbone that cannot look is passed over: :meth:`ask` does without it. Raises as :meth:`look`.
        """
        self._check_accepted()
        for card in self.cards_:
            with suppress(*FAILURES):
                backbone = self._same(card)
                backbone.expect(photos)
                _ = backbone.encoder

    def _check_accepted(self) -> None:
        """Raise LicenceError, see :meth:`look`."""
        self._fitted_classes()
        for card in self.cards_ if self.is_adapted and not self.accept_undeclared_licence else ():
            if card.licence is None and self.facts_["adapted"]["from"][card.name] != LOCAL:
                raise undeclared(card.name)

    def _same(self, card: Card) -> Backbone:
        """The card's backbone. Raises BundleError when it is not the one that the model was fitted with."""
        (backbone,) = self._load([card], self.fusion_.taps)
        if self.weights_[card.name] != backbone.weights:
            raise BundleError(f"the weights of {card.name} on this machine are not those the model was trained with")
        return backbone

    def predict_log_proba(self, X: Paths) -> FloatArray:
        """Calibrated log-probabilities of ``classes_``: (n, C); a row of NaN for a photo that cannot be read."""
        asked = self.ask(X)
        return _spread(asked.log_proba, asked.is_good, asked.rejected)

    def predict_proba(self, X: Paths) -> FloatArray:
        """Calibrated probabilities of ``classes_``: (n, C); a row of NaN for a photo that cannot be read."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Paths) -> npt.NDArray[Any]:
        """The most probable class of each photo: (n,); None for a photo that cannot be read."""
        log_proba = self.predict_log_proba(X)
        unread = np.isnan(log_proba[:, 0])
        predicted = self.classes_[np.where(unread, 0, log_proba.argmax(axis=1))]
        if not unread.any():
            return predicted
        with_gaps = predicted.astype(object)
        with_gaps[unread] = None
        return with_gaps

    def score(self, X: Paths, y: Any, sample_weight: Any = None) -> float:
        """Share of the photos whose class is right; one that cannot be read counts as wrong."""
        return float(np.average(self.predict(X) == np.asarray(y), weights=sample_weight))

    def gate_weights(self, X: Paths) -> FloatArray:
        """How much each backbone counts for each photo: (n, K), columns as ``cards_``. Of the fusion "mixture" only."""
        self._fitted_classes()
        fusion = self.fusion_
        if isinstance(fusion, Cascade):
            raise AttributeError("a model with a budget has a gate after each backbone, and none for all photos")
        if not isinstance(fusion, MixtureOfExperts):
            raise AttributeError(f"the fusion {self.fusion!r} has no gate; gate weights come with fusion='mixture'")
        seen = self.look(X)
        weights = fusion.gate_weights(seen.table) if seen.is_good.any() else np.empty((0, len(self.cards_)))
        return _spread(weights, seen.is_good, seen.rejected)

    def was_trained_on(self, seen: Extraction) -> npt.NDArray[np.bool_]:
        """For each row, whether that very file was among the training photos: scores on it say nothing of new ones."""
        self._fitted_classes()
        hashes = np.array([int(photo[:16], 16) for photo in seen.photos], np.uint64)
        return np.isin(hashes, self.photos_)

    def _fitted_classes(self) -> npt.NDArray[Any]:
        check_is_fitted(self, "fusion_")
        return self.classes_

    def _load(self, cards: Sequence[Card], taps: Sequence[str]) -> list[Backbone]:
        """The cards' backbones. Networks built for an earlier call are used again: photo by photo is fast too."""
        accepted, how = self.accept_undeclared_licence, (self.precision, self.engine, self.batch_size)
        with network_off(self.offline):
            backbones = [Backbone.load(card, accepted, taps, *how) for card in cards]
        built: dict[tuple[Any, ...], Backbone] = self.__dict__.setdefault("_built", {})
        return [built.setdefault(b.identity, b) for b in backbones]

    def _extract(self, X: Paths, backbones: Sequence[Backbone], darkroom: Darkroom | None = None) -> Extraction:
        with network_off(self.offline):  # photos and features may lie behind URLs
            return extract(as_paths(X), backbones, FeatureStore(self.features), darkroom)


def _spread(answers: FloatArray, is_good: npt.NDArray[np.bool_], rejected: Sequence[Rejected]) -> FloatArray:
    """Answers for the photos that could be read, (n, W), spread over all: NaN for the others, of which it warns."""
    warn_rejected(rejected)
    result = np.full((len(is_good), answers.shape[1]), np.nan)
    result[is_good] = answers
    return result


def as_paths(X: Paths) -> list[str]:
    if isinstance(X, str | os.PathLike):
        raise TypeError(f"several paths are wanted: write [{os.fspath(X)!r}]")
    return [os.fspath(path) for path in X]
