"""ManyEyesClassifier: photos in, an adaptively fused classifier out. The estimator that ties the rooms together."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_consistent_length

from manyeyes.backbones.card import Card
from manyeyes.backbones.engines import find_engine
from manyeyes.backbones.engines.precision import check_precision
from manyeyes.backbones.nets import PrecisionChoice
from manyeyes.backbones.timing import seconds_of
from manyeyes.backbones.zoo import read_zoo
from manyeyes.errors import ChoiceError, PhotoSourceError
from manyeyes.experts import EXPERTS, ClassWeight
from manyeyes.features.extract import Extraction
from manyeyes.fusion import FUSIONS
from manyeyes.fusion.budget import Budget, Unit, macs_of
from manyeyes.fusion.cascade import Cascade
from manyeyes.fusion.frontier import By
from manyeyes.fusion.fusion import Fusion
from manyeyes.fusion.mixture import MixtureOfExperts
from manyeyes.fusion.picking import check_by
from manyeyes.gates import GATES
from manyeyes.home import network_off
from manyeyes.hub import HubMixin
from manyeyes.images import RejectedPhotoWarning, check_rejected, warn_rejected
from manyeyes.photo_classifier import LOCAL, Paths, PhotoClassifier, as_paths

if TYPE_CHECKING:
    from manyeyes.adapt.zoo import AdaptedZoo, Adapting


class ManyEyesClassifier(HubMixin, PhotoClassifier):
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
    adapt : None, or how each backbone is first adapted to the photos: parallel, gated, supernet:0.5x … (see
        :mod:`manyeyes.adapt.zoo`). Half of the photos train adapters; gate and calibration go by the others.
        With the training "joint" all of these are trained at once (see :mod:`manyeyes.adapt.joint`).
    adapt_size, adapt_epochs, adapt_flip : see :class:`manyeyes.adapt.zoo.Adapting`.
    budget, budget_unit : None, or what a photo may cost on the mean: as few backbones as it wants are asked (see
        :class:`manyeyes.fusion.cascade.Cascade`). A "share" of the MACs of all backbones; or "macs"; or "ms",
        milliseconds of the backbones, measured when the model is fitted; or "kept", as few as keep such a share of the
        accuracy of all, 0.999, say.
    budget_by : who decides how far to look at a photo: "confidence" of the answer so far; the gate by its "thumbnail",
        before; or "both". The gate is cnn32 or cnn64 then.

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

    # What the backbones were adapted to, between that and the fit.
    _adapted: "AdaptedZoo | None" = None

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
        adapt: str | None = None,
        adapt_size: int | None = None,
        adapt_epochs: int = 10,
        adapt_flip: bool = True,
        budget: float | None = None,
        budget_unit: Unit = "share",
        budget_by: By = "confidence",
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
        self.adapt = adapt
        self.adapt_size = adapt_size
        self.adapt_epochs = adapt_epochs
        self.adapt_flip = adapt_flip
        self.budget = budget
        self.budget_unit: Unit = budget_unit
        self.budget_by: By = budget_by

    def fit(self, X: Paths, y: Any, groups: Any = None) -> Self:
        """Look at the photos at paths ``X`` (n,) and learn their labels ``y`` (n,).

        Photos that share one of ``groups`` (n,), such as frames of one film, never stand on both sides of an inner
        fold. A class of which no photo can be read is not learnt; a warning says so. Raises UnknownNameError or
        ValueError for a choice that does not exist, TooManyRejectedError, OfflineError, LicenceError, and whatever a
        backbone's source raises.
        """
        check_consistent_length(X, y, groups)
        self.check_choices()
        y, groups = np.asarray(y), None if groups is None else np.asarray(groups)
        if len(np.unique(y)) < 2:
            raise PhotoSourceError("photos of at least two classes are wanted to learn from")
        paths = as_paths(X)
        if self.is_joint:
            return self._fit_jointly(paths, y, groups)
        self._adapted = None
        if self.adapt is not None:
            self.adapt_zoo(paths, y, groups)
        seen = self._extract(paths, self._load(self._cards(), FUSIONS[self.fusion].taps))
        check_rejected(seen.rejected, len(paths), self.max_rejected)
        if not seen.is_good.any():
            raise PhotoSourceError("there are no photos to learn from")
        warn_rejected(seen.rejected)
        _warn_of_lost(y, y[seen.is_good])
        return self.fit_seen(seen, y[seen.is_good], None if groups is None else groups[seen.is_good])

    def adapt_zoo(self, X: Paths, y: Any, groups: Any = None) -> "AdaptedZoo":
        """Adapt the zoo's backbones to a part of the photos ``X`` (n,), for :meth:`look` and :meth:`fit_seen`.

        :meth:`fit` does all of that.
        """
        from manyeyes.adapt.zoo import adapt_zoo

        with network_off(self.offline):
            adapted = adapt_zoo(
                read_zoo(self.zoo),
                as_paths(X),
                np.asarray(y),
                groups,
                self._adapting(),
                self.max_rejected,
                self.accept_undeclared_licence,
            )
        self._adapted = adapted
        return adapted

    def fit_seen(self, seen: Extraction, y: Any, groups: Any = None) -> Self:
        """Learn from what :meth:`look` has already seen: one label (and one group) for each row."""
        if self.is_joint:
            raise ChoiceError("adapters, experts and gate are trained together by fit, from the photos themselves")
        cards = self._cards()
        with network_off(self.offline):
            judges = None if self._adapted is None else ~np.isin(seen.photos, self._adapted.learnt)
            fusion = self._make_fusion(cards).fit(seen.table, np.asarray(y), seen.together(groups), judges)
        return self._keep(fusion, cards, seen, np.asarray(y))

    def _fit_jointly(self, paths: list[str], y: npt.NDArray[Any], groups: Any) -> Self:
        from manyeyes.adapt.joint import adapt_jointly

        mixture = self._whole_fusion()
        assert isinstance(mixture, MixtureOfExperts)
        with network_off(self.offline):
            made = adapt_jointly(
                read_zoo(self.zoo),
                paths,
                y,
                groups,
                self._adapting(),
                mixture,
                lambda cards, some: self._extract(some, self._load(cards, mixture.taps)),
                self.max_rejected,
                self.accept_undeclared_licence,
            )
        warn_rejected(made.seen.rejected)
        _warn_of_lost(y, y[made.seen.is_good])
        self._adapted = None
        self._keep(mixture, made.cards, made.seen, y[made.seen.is_good])
        if made.accuracy is not None:
            self.facts_["held"] = len(made.held), made.accuracy
        return self

    def _keep(self, fusion: Fusion, cards: Sequence[Card], seen: Extraction, y: npt.NDArray[Any]) -> Self:
        backbones = self._load(cards, fusion.taps)
        # Set together, once nothing can fail any more: a model is never half of one fit and half of another.
        self.fusion_ = fusion
        self.classes_ = fusion.classes_
        self.cards_ = tuple(backbone.card for backbone in backbones)
        self.weights_ = {backbone.card.name: backbone.weights for backbone in backbones}
        self.photos_ = np.array([int(photo[:16], 16) for photo in seen.photos], np.uint64)
        self.rejected_ = seen.rejected
        names, counts = np.unique(y, return_counts=True)
        self.facts_ = {
            "photos": len(y),
            "rejected": len(seen.rejected),
            "classes": dict(zip(map(str, names.tolist()), counts.tolist(), strict=True)),
        }
        if self.adapt is not None:
            origins = [LOCAL if card.is_local else card.source for card in read_zoo(self.zoo)]
            self.facts_["adapted"] = {
                "method": self.adapt,
                "size": self.adapt_size,
                "photos": len(self._adapted.learnt) if self._adapted else 0,
                "from": dict(zip(self.weights_, origins, strict=True)),
            }
        return self

    def check_choices(self) -> None:
        """Raise UnknownNameError or ValueError for a choice that does not exist, before hours of looking at photos."""
        cards = read_zoo(self.zoo)
        if self.adapt is not None:
            from manyeyes.adapt.zoo import check_adaptable

            check_adaptable(cards)
            self._adapting()
            if self.is_joint and self.label_space is not None:
                raise ChoiceError("backbones that are adapted jointly keep no source labels: leave out the label space")
        fusion = self._whole_fusion()
        if self.budget is not None:
            self._check_budget(Budget(self.budget, self.budget_unit), cards)
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
        if hasattr(self, "fusion_"):
            return super().look(X)
        return self._extract(X, self._load(self._cards(), FUSIONS[self.fusion].taps))

    def spend(self, budget: float) -> Self:
        """Go by another budget from now on, in the same unit; nothing is trained. Raises ChoiceError for one too small,
        and for a model that was fitted without a budget."""
        self._fitted_classes()
        if not isinstance(self.fusion_, Cascade):
            raise ChoiceError("the model asks all backbones about every photo: fit it with a budget")
        within = Budget(budget, self.budget_unit)
        if within.unit == "kept":
            self.fusion_.keep(within.number)
        else:
            self.fusion_.spend(within.share(self.fusion_.costs))
        self.budget = budget
        return self

    def milliseconds(self) -> dict[str, float]:
        """What each backbone takes for a photo on this machine, once it is decoded and framed: measured now."""
        return {one.card.name: 1e3 * seconds_of(one) for one in self._load(self._cards(), FUSIONS[self.fusion].taps)}

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

    @property
    def is_joint(self) -> bool:
        """Whether adapters, experts and gate are trained at once."""
        return self.adapt is not None and self.training == "joint"

    def _adapting(self) -> "Adapting":
        from manyeyes.adapt.zoo import Adapting

        return Adapting(self.adapt or "", self.adapt_size, self.adapt_epochs, self.adapt_flip, int(self.random_state))

    def _cards(self) -> tuple[Card, ...]:
        """What is looked at with: the zoo as it came, or as :meth:`adapt_zoo` left it."""
        if self._adapted is not None:
            return self._adapted.cards
        if self.adapt is not None:
            raise ChoiceError("the backbones are not adapted yet: call fit, or adapt_zoo before look and fit_seen")
        return read_zoo(self.zoo)

    def _check_budget(self, budget: Budget, cards: Sequence[Card]) -> None:
        if self.is_joint:
            raise ChoiceError("what is trained all at once is asked all at once: leave out the budget")
        check_by(self.budget_by, self.gate)
        if budget.unit == "ms":
            return
        if self.adapt_size is not None:
            raise ChoiceError("cards tell the MACs of photos of their own size: with adapt_size, give a budget in ms")
        macs = macs_of(cards)
        if budget.unit != "kept":
            budget.check(macs)

    def _make_fusion(self, cards: Sequence[Card]) -> Fusion:
        whole = self._whole_fusion()
        if self.budget is None:
            return whole
        costs = self.milliseconds() if self.budget_unit == "ms" else macs_of(cards)
        if self.budget_unit == "kept":
            return Cascade(whole, costs, by=self.budget_by, gate=self.gate, kept=self.budget)
        return Cascade(whole, costs, Budget(self.budget, self.budget_unit).share(costs), self.budget_by, self.gate)

    def _whole_fusion(self) -> Fusion:
        """That of all backbones, unfitted."""
        own = self.get_params(deep=False)
        kind = FUSIONS[self.fusion]
        names = kind().get_params(deep=False)
        fusion: Fusion = kind(**{name: value for name, value in own.items() if name in names})
        return fusion

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_built"}


def _warn_of_lost(y: npt.NDArray[Any], read: npt.NDArray[Any]) -> None:
    if lost := set(y.tolist()) - set(read.tolist()):
        names = ", ".join(sorted(map(str, lost)))
        warnings.warn(f"no photo of {names} could be read: not learnt", RejectedPhotoWarning, stacklevel=3)
