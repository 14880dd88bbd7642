"""ManyEyesClassifier: photos in, an adaptively fused classifier out. The estimator that ties the rooms together."""

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.engines import find_engine
from manyeyes.backbones.engines.precision import check_precision
from manyeyes.backbones.nets import PrecisionChoice
from manyeyes.backbones.zoo import read_zoo
from manyeyes.errors import BundleError, ChoiceError, PhotoSourceError
from manyeyes.experts import EXPERTS, ClassWeight
from manyeyes.features.extract import Extraction, extract
from manyeyes.features.store import FeatureStore
from manyeyes.fusion import FUSIONS
from manyeyes.fusion.fusion import Fusion
from manyeyes.fusion.mixture import MixtureOfExperts
from manyeyes.gates import GATES
from manyeyes.home import network_off
from manyeyes.images import Rejected, check_rejected

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
Paths = Sequence[str | os.PathLike[str]]


class RejectedPhotoWarning(UserWarning):
    """Some photos could not be read; they were left out, and nothing was put in their place."""


class ManyEyesClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify photos by several frozen backbones, an expert on each, and a gate that weighs them photo by photo.

    Parameters
    ----------
    zoo : a zoo, or a comma-separated list of cards (see :func:`manyeyes.backbones.zoo.read_zoo`).
    gate : cnn32, cnn64, embedding, constant or uniform; used by the fusion "mixture".
    training, label_space, train_label_space : of the mixture, see
        :class:`manyeyes.fusion.mixture.MixtureOfExperts`.
    fusion : auto, or another name of ``manyeyes.fusion.FUSIONS``.
    expert : softmax, or another name of ``manyeyes.experts.EXPERTS``; used by the fusions that leave the choice.
    class_weight : None, "balanced", or a dict class → weight.
    random_state : the seed of everything that is drawn: the same seed gives the same model.
    offline : never touch the network; weights that are not on this machine raise OfflineError.
    accept_undeclared_licence : use weights whose publisher declares no licence.
    engine : what runs the backbones: torch, openvino, cuda, or auto, the fastest on this machine.
    precision : fp32, bf16 for twice the speed and more on processors that have it, or auto: bf16 where the machine has
        it and the backbone's card says that it does no harm.
    batch_size : photos in one pass of a backbone; None leaves it to the engine.
    max_rejected : share of unreadable photos above which fitting stops.
    features : where features are kept, a folder or a URL (see :class:`manyeyes.features.store.FeatureStore`); the
        user's cache when None. A saved model does not remember it.

    Attributes
    ----------
    classes_ : (C,), sorted.
    fusion_ : the fitted fusion; its ``panel_`` holds the experts, where it has any.
    cards_, weights_ : the backbones' cards, and the sha256 of each one's weights by name.
    photos_ : (n,) uint64, the first half of each training file's sha256.
    rejected_ : the photos that could not be read when fitting.
    facts_ : what a bundle's model card tells of the training photos and, if they were compared, of all methods.

    Photos are given as paths; copies of one file count as one group. A photo that cannot be read is left out of
    fitting; in predictions it keeps its place, with NaN probabilities and None for its class. Both warn with
    :class:`RejectedPhotoWarning`.

    >>> from manyeyes import ManyEyesClassifier
    >>> ManyEyesClassifier(zoo="lite", gate="embedding")
    ManyEyesClassifier(gate='embedding')
    """

    def __init__(
        self,
        zoo: str = "lite",
        gate: str = "cnn32",
        training: str = "staged",
        label_space: str | None = None,
        train_label_space: bool = False,
        fusion: str = "auto",
        expert: str = "softmax",
        class_weight: ClassWeight = None,
        random_state: int = 0,
        offline: bool = False,
        accept_undeclared_licence: bool = False,
        engine: str = "auto",
        precision: PrecisionChoice = "auto",
        batch_size: int | None = None,
        max_rejected: float = 0.2,
        features: str | os.PathLike[str] | None = None,
    ) -> None:
        self.zoo = zoo
        self.gate = gate
        self.training = training
        self.label_space = label_space
        self.train_label_space = train_label_space
        self.fusion = fusion
        self.expert = expert
        self.class_weight = class_weight
        self.random_state = random_state
        self.offline = offline
        self.accept_undeclared_licence = accept_undeclared_licence
        self.engine = engine
        self.precision: PrecisionChoice = precision
        self.batch_size = batch_size
        self.max_rejected = max_rejected
        self.features = features

    def fit(self, X: Paths, y: Any, groups: Any = None) -> Self:
        """Look at the photos at paths ``X`` (n,) and learn their labels ``y`` (n,).

        Photos that share one of ``groups`` (n,), such as frames of one film, never stand on both sides of an inner
        fold. A class of which no photo can be read is not learnt; a warning says so. Raises UnknownNameError or
        ValueError for a choice that does not exist, TooManyRejectedError, OfflineError, LicenceError, and whatever a
        backbone's source raises.
        """
        check_consistent_length(X, y, groups)
        self.check_choices()
        y = np.asarray(y)
        if len(np.unique(y)) < 2:
            raise PhotoSourceError("photos of at least two classes are wanted to learn from")
        backbones = self._load(read_zoo(self.zoo), FUSIONS[self.fusion].taps)
        seen = extract(_as_paths(X), backbones, FeatureStore(self.features))
        check_rejected(seen.rejected, len(X), self.max_rejected)
        if not seen.is_good.any():
            raise PhotoSourceError("there are no photos to learn from")
        _warn(seen.rejected)
        if lost := set(y.tolist()) - set(y[seen.is_good].tolist()):
            names = ", ".join(sorted(map(str, lost)))
            warnings.warn(f"no photo of {names} could be read: not learnt", RejectedPhotoWarning, stacklevel=2)
        given = None if groups is None else np.asarray(groups)[seen.is_good]
        return self._learn(backbones, seen, y[seen.is_good], given)

    def fit_seen(self, seen: Extraction, y: Any, groups: Any = None) -> Self:
        """Learn from what :meth:`look` has already seen: one label (and one group) for each row."""
        return self._learn(self._load(read_zoo(self.zoo), FUSIONS[self.fusion].taps), seen, np.asarray(y), groups)

    def _learn(self, backbones: list[Backbone], seen: Extraction, y: npt.NDArray[Any], groups: Any) -> Self:
        with network_off(self.offline):
            fusion = self._make_fusion().fit(seen.table, y, seen.together(groups))
        # Set together, once nothing can fail any more: a model is never half of one fit and half of another.
        self.fusion_ = fusion
        self.classes_ = fusion.classes_
        self.cards_ = tuple(backbone.card for backbone in backbones)
        self.weights_ = {backbone.card.name: backbone.weights for backbone in backbones}
        self.photos_ = np.array([int(photo[:16], 16) for photo in seen.photos], np.uint64)
        self.rejected_ = seen.rejected
        names, counts = np.unique(y, return_counts=True)
        self.facts_: dict[str, Any] = {
            "photos": len(y),
            "rejected": len(seen.rejected),
            "classes": dict(zip(map(str, names.tolist()), counts.tolist(), strict=True)),
        }
        return self

    def was_trained_on(self, seen: Extraction) -> npt.NDArray[np.bool_]:
        """For each row, whether that very file was among the training photos: scores on it say nothing of new ones."""
        self._fitted_classes()
        hashes = np.array([int(photo[:16], 16) for photo in seen.photos], np.uint64)
        return np.isin(hashes, self.photos_)

    def check_choices(self) -> None:
        """Raise UnknownNameError or ValueError for a choice that does not exist, before hours of looking at photos."""
        read_zoo(self.zoo)
        fusion = self._make_fusion()
        if isinstance(fusion, MixtureOfExperts):
            with network_off(self.offline):
                fusion.check_choices()
        elif self.training != "staged" or self.label_space is not None or self.train_label_space:
            raise ChoiceError(f"training and label space are choices of the fusion 'mixture', not of {self.fusion!r}")
        for registry, name in ((GATES, self.gate), (EXPERTS, self.expert)):
            registry[name]
        find_engine(self.engine)
        check_precision(self.precision)
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size is None or a number above zero, not {self.batch_size}")
        if not 0 <= self.max_rejected <= 1:
            raise ValueError(f"max_rejected is a share between 0 and 1, not {self.max_rejected}")

    def look(self, X: Paths) -> Extraction:
        """Features of the photos at paths ``X``: from the cache where it has them, else by looking at the photos.

        A fitted model looks with the backbones it was fitted with, another one with those of its zoo.
        """
        if not hasattr(self, "fusion_"):
            backbones = self._load(read_zoo(self.zoo), FUSIONS[self.fusion].taps)
            return extract(_as_paths(X), backbones, FeatureStore(self.features))
        backbones = self._load(self.cards_, self.fusion_.taps)
        for backbone in backbones:
            if self.weights_[backbone.card.name] != backbone.weights:
                raise BundleError(
                    f"the weights of {backbone.card.name} on this machine are not those the model was trained with"
                )
        return extract(_as_paths(X), backbones, FeatureStore(self.features))

    def predict_log_proba(self, X: Paths) -> FloatArray:
        """Calibrated log-probabilities of ``classes_``: (n, C); a row of NaN for a photo that cannot be read."""
        return self._spread(X, lambda table: self.fusion_.predict_log_proba(table), len(self._fitted_classes()))

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
        if not isinstance(fusion, MixtureOfExperts):
            raise AttributeError(f"the fusion {self.fusion!r} has no gate; gate weights come with fusion='mixture'")
        return self._spread(X, fusion.gate_weights, len(self.cards_))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a bundle: see :func:`manyeyes.bundle.save`."""
        from manyeyes.bundle import save

        self._fitted_classes()
        save(self, Path(folder))

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        offline: bool = False,
        accept_undeclared_licence: bool = False,
        engine: str = "auto",
        features: str | os.PathLike[str] | None = None,
    ) -> "ManyEyesClassifier":
        """Read a bundle: see :func:`manyeyes.bundle.load`. The backbones' weights are looked up when first needed.

        Raises UnknownNameError or EngineError for an ``engine`` that does not exist or not here.
        """
        from manyeyes.bundle import load

        find_engine(engine)
        model = load(Path(folder))
        users_own = {"offline": offline, "accept_undeclared_licence": accept_undeclared_licence}
        model.set_params(**users_own, engine=engine, features=features)
        return model

    def _make_fusion(self) -> Fusion:
        own = self.get_params(deep=False)
        kind = FUSIONS[self.fusion]
        names = kind().get_params(deep=False)
        fusion: Fusion = kind(**{name: value for name, value in own.items() if name in names})
        return fusion

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

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_built"}

    def _spread(self, X: Paths, answer: Any, width: int) -> FloatArray:
        """The answer for the photos that can be read, spread over all paths: (n, width), NaN elsewhere."""
        seen = self.look(X)
        _warn(seen.rejected)
        result = np.full((len(X), width), np.nan)
        if seen.is_good.any():
            result[seen.is_good] = answer(seen.table)
        return result


def _as_paths(X: Paths) -> list[str]:
    if isinstance(X, str | os.PathLike):
        raise TypeError(f"several paths are wanted: write [{os.fspath(X)!r}]")
    return [os.fspath(path) for path in X]


def _warn(rejected: Sequence[Rejected]) -> None:
    if rejected:
        first = "; ".join(str(one) for one in rejected[:3])
        warnings.warn(f"{len(rejected)} photos could not be read: {first}", RejectedPhotoWarning, stacklevel=4)
