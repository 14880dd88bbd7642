"""The recipe that wins: kernel ridge on all blocks of all taps, pooled log-linearly with kernel ridge on each backbone.

Final features say what is in a photo, second-order blocks how it looks close by; one kernel sees both. Its distances
are plain, or whitened so that what photos of one class differ in counts little (:mod:`manyeyes.experts.within_class`).
Leave-one-out chooses between the two, and the weight between the taps, down to nothing where photos are few. The pool,
a product of experts (Hinton, 2002), gives half its exponent to that kernel and half to the backbones' own. It is
calibrated on leave-one-out outputs.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from manyeyes.backbones.nets import FINAL, SECOND_ORDER
from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.calibration import tempered
from manyeyes.experts.distance_ridge import DistanceRidge, Problem, choose_landmarks
from manyeyes.experts.lesson import Lesson
from manyeyes.features.table import FeatureTable, backbone_of, tap_of
from manyeyes.fusion.fusion import Fusion, Watch
from manyeyes.fusion.view import METRICS, MeanSeen, Sight, View

# The exponent of the kernel on everything; the backbones' own kernels share the rest.
JOINT = 0.5
# Training photos that span the kernels and are whitened by. With more of them a model takes gigabytes.
LANDMARKS = 2000
# Name of the expert on that.
EVERYTHING = "all blocks"
# Photos whose distances in all blocks are held at once.
PART = 256


class Auto(Fusion):
    """A log-linear pool of kernel ridges: one on each backbone, one on everything.

    Parameters
    ----------
    class_weight, random_state : as in MixtureOfExperts.

    Attributes (beside those of every fusion)
    ----------
    landmarks_, labels_ : block → (m, D) float16, the rows that span the kernels, and the classes of these rows (m,).
    experts_ : of the K experts, name → names of its blocks: those of one backbone each, and for the last one all.
    ridges_, metrics_ : the experts, and of each whether its distances are "plain" or "whitened".
    exponents_ : (K,) of the experts, summing to one; the last expert is the one on everything.
    """

    taps = (FINAL, SECOND_ORDER)

    def __init__(self, class_weight: ClassWeight = None, random_state: int = 0) -> None:
        self.class_weight = class_weight
        self.random_state = random_state

    def opinions(self, X: FeatureTable | FloatArray) -> dict[str, FloatArray]:
        check_is_fitted(self)
        said = self._opinions(self._table(X))
        return {name: said[:, k] for k, name in enumerate(self.experts_)}

    def honest_opinions(self) -> dict[str, FloatArray]:
        return {name: ridge.out_of_fold_ for name, ridge in zip(self.experts_, self.ridges_, strict=True)}

    def contributions(self, X: FeatureTable | FloatArray) -> FloatArray:
        """What each block adds to the log-odds of a photo's class over the runner-up: (n, B), columns as ``blocks_``.

        Measured by taking the block away: its distances to the training photos are set to their mean, so that it speaks
        for no class.
        """
        check_is_fitted(self)
        return np.concatenate([self._contributions(sight) for sight in self._sights(self._table(X))])

    def fit_nested(self, lesson: Lesson, prefixes: Sequence[Sequence[str]]) -> list[Fusion]:
        # What one has learnt, the next need not learn again.
        learning = _Learning(lesson, self.random_state)
        stages: list[Fusion] = []
        for names in prefixes:
            stage, part = clone(self), lesson.of_blocks(names)
            stage._prepare(part)
            stage._calibrate(part, stage._take(learning))
            stages.append(stage)
        return stages

    def share_with(self, others: Sequence[Fusion]) -> None:
        for other in others:
            assert isinstance(other, Auto)
            other._views = self._all_views

    def watch(self) -> Watch:
        return _Watch({name: self._view(name) for name in self.blocks_})

    def _fit(self, lesson: Lesson) -> FloatArray:
        return self._take(_Learning(lesson, self.random_state))

    def _take(self, learning: "_Learning") -> FloatArray:
        """Be what has been learnt of its backbones, once those that are new have been learnt of."""
        self.experts_: dict[str, list[str]] = {}
        for name in self.blocks_:
            self.experts_.setdefault(backbone_of(name), []).append(name)
        count = len(self.experts_)
        chosen = [learning.alone(name, self._taps(name)) for name in self.experts_]
        if count > 1:
            self.experts_[EVERYTHING] = list(self.blocks_)
            chosen.append(learning.together())
        self.labels_, self._views = learning.labels, learning.views
        self.landmarks_ = {name: learning.views[name].landmarks for name in self.blocks_}
        self.ridges_ = [ridge for ridge, _ in chosen]
        self.metrics_ = [metric for _, metric in chosen]
        self.exponents_ = np.array([(1 - JOINT) / count] * count + [JOINT]) if count > 1 else np.ones(1)
        return self._pool(np.stack([ridge.out_of_fold_ for ridge in self.ridges_], axis=1))

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return self._pool(self._opinions(table))

    def _opinions(self, table: FeatureTable) -> FloatArray:
        """The experts' log-probabilities: (n, K, C)."""
        return np.concatenate([self._opinions_of(sight) for sight in self._sights(table)])

    def _opinions_of(self, sight: Sight) -> FloatArray:
        return np.stack([self._opinion(k, sight) for k in range(len(self.ridges_))], axis=1)

    def _opinion(self, k: int, sight: Sight) -> FloatArray:
        taps = self._taps(list(self.experts_)[k])
        near = [np.mean([sight.near(name, self.metrics_[k]) for name in names], axis=0) for names in taps.values()]
        return self.ridges_[k].log_proba(near)

    def _contributions(self, sight: Sight) -> FloatArray:
        """Of the photos in sight: (p, B)."""
        opinions = self._opinions_of(sight)
        said = tempered(self._pool(opinions), self.temperature_)
        first, second = np.argsort(-said, axis=1)[:, :2].T
        rows = np.arange(len(said))
        changes = []
        for name in self.blocks_:
            without = opinions.copy()
            for k, own in enumerate(self.experts_.values()):
                if name in own:
                    without[:, k] = self._opinion(k, sight.without(name))
            changes.append(said - tempered(self._pool(without), self.temperature_))
        return np.stack([change[rows, first] - change[rows, second] for change in changes], axis=1)

    def _sights(self, table: FeatureTable) -> Iterator[Sight]:
        """Of some photos at a time."""
        views = {name: self._view(name) for name in self.blocks_}
        for start in range(0, len(table), PART):
            yield Sight(views, {name: table.blocks[name][start : start + PART] for name in self.blocks_})

    def _view(self, name: str) -> View:
        """A model that was loaded makes its views when they are first asked for."""
        views = self._all_views
        if name not in views:
            views[name] = View(self.landmarks_[name], self.labels_, tap_of(name))
        return views[name]

    @property
    def _all_views(self) -> dict[str, View]:
        views: dict[str, View] = self.__dict__.setdefault("_views", {})
        return views

    def _taps(self, expert: str) -> dict[str, list[str]]:
        """Tap → the blocks that an expert looks at."""
        taps: dict[str, list[str]] = {}
        for name in self.experts_[expert]:
            taps.setdefault(tap_of(name), []).append(name)
        return taps

    def _keep_blocks(self, kept: list[int]) -> bool:
        names = list(self.experts_)
        able = [k for k, name in enumerate(names) if set(self.experts_[name]) <= set(self.blocks_)]
        self.experts_ = {names[k]: self.experts_[names[k]] for k in able}
        self.ridges_, self.metrics_ = [self.ridges_[k] for k in able], [self.metrics_[k] for k in able]
        self.landmarks_ = {name: self.landmarks_[name] for name in self.blocks_}
        self.exponents_ = self.exponents_[able] / self.exponents_[able].sum()
        return bool(able)

    def _pool(self, opinions: FloatArray) -> FloatArray:
        pooled: FloatArray = np.einsum("nkc,k->nc", opinions, self.exponents_)
        return pooled


class _Watch(Watch):
    """Distances to the landmarks are kept."""

    def __init__(self, views: Mapping[str, View]) -> None:
        self._sight = Sight(views, {})

    def say(self, fusion: Fusion, table: FeatureTable, kept: npt.NDArray[np.int64]) -> FloatArray:
        assert isinstance(fusion, Auto)
        self._sight = self._sight.of(kept, fusion._table(table).blocks)
        return tempered(fusion._pool(fusion._opinions_of(self._sight)), fusion.temperature_)


# A ridge, and whether its distances are plain or whitened.
Chosen = tuple[DistanceRidge, str]


class _Learning:
    """What is learnt of a lesson's backbones, one after the other, and of all so far together."""

    def __init__(self, lesson: Lesson, random_state: int) -> None:
        self._blocks, self._all_labels = lesson.table.blocks, lesson.labels
        self._problem = Problem.of(lesson.classes, lesson.labels, lesson.class_weight, lesson.groups)
        self._landmarks = choose_landmarks(len(lesson.labels), LANDMARKS, random_state)
        self._as_one = self._problem.select(self._landmarks).together
        self._everything = {metric: MeanSeen() for metric in METRICS}
        self._known: dict[str, Chosen] = {}
        self.labels = lesson.labels[self._landmarks]
        self.views: dict[str, View] = {}

    def alone(self, backbone: str, taps: dict[str, list[str]]) -> Chosen:
        """The expert on a backbone's blocks, learnt when it is first asked for."""
        if backbone not in self._known:
            own = {metric: MeanSeen() for metric in METRICS}
            for tap, name in ((tap, name) for tap, names in taps.items() for name in names):
                view = self.views[name] = View.of(self._blocks[name], tap, self._all_labels, self._landmarks)
                for metric, seen in view.learn(self._blocks[name], self._landmarks, self._as_one).items():
                    own[metric].add(tap, seen)
                    self._everything[metric].add(tap, seen)
            self._known[backbone] = self._best(own)
        return self._known[backbone]

    def together(self) -> Chosen:
        """The expert on all blocks so far."""
        return self._best(self._everything)

    def _best(self, seen: dict[str, MeanSeen]) -> Chosen:
        """Of a ridge on plain and one on whitened distances, that which knows more of left-out photos."""
        ridges = {
            metric: DistanceRidge().fit(mean.distances(self._landmarks), self._problem) for metric, mean in seen.items()
        }
        best = min(ridges, key=lambda metric: ridges[metric].loss_)
        return ridges[best], best
