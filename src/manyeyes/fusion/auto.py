"""The recipe that wins: kernel ridge on all blocks of all taps, pooled log-linearly with kernel ridge on each backbone.

Final features say what is in a photo, second-order blocks how it looks close by; one kernel sees both. Its distances
are plain, or whitened so that what photos of one class differ in counts little (:mod:`manyeyes.experts.within_class`).
Leave-one-out chooses between the two, and the weight between the taps, down to nothing where photos are few. The pool,
a product of experts (Hinton, 2002), gives half its exponent to that kernel and half to the backbones' own. It is
calibrated on leave-one-out outputs.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from manyeyes.backbones.nets import FINAL, SECOND_ORDER
from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.calibration import tempered
from manyeyes.experts.distance_ridge import DistanceRidge, Distances, Problem, choose_landmarks
from manyeyes.experts.lesson import Lesson
from manyeyes.features.table import FeatureTable, backbone_of, tap_of
from manyeyes.fusion.fusion import Fusion
from manyeyes.fusion.view import METRICS, MeanSeen, Sight, View

# The exponent of the kernel on everything; the backbones' own kernels share the rest.
JOINT = 0.5
# Training photos that span the kernels and are whitened by. With more of them a model takes gigabytes.
LANDMARKS = 2000
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
    ridges_, metrics_ : the K experts, and of each whether its distances are "plain" or "whitened".
    exponents_ : (K,) of the experts, summing to one; the last expert is the one on everything.
    """

    taps = (FINAL, SECOND_ORDER)

    def __init__(self, class_weight: ClassWeight = None, random_state: int = 0) -> None:
        self.class_weight = class_weight
        self.random_state = random_state

    def opinions(self, X: FeatureTable | FloatArray) -> dict[str, FloatArray]:
        check_is_fitted(self)
        said = self._opinions(self._table(X))
        return {name: said[:, k] for k, name in enumerate(self._experts())}

    def contributions(self, X: FeatureTable | FloatArray) -> FloatArray:
        """What each block adds to the log-odds of a photo's class over the runner-up: (n, B), columns as ``blocks_``.

        Measured by taking the block away: its distances to the training photos are set to their mean, so that it speaks
        for no class.
        """
        check_is_fitted(self)
        return np.concatenate([self._contributions(sight) for sight in self._sights(self._table(X))])

    def _fit(self, lesson: Lesson) -> FloatArray:
        problem = Problem.of(lesson.classes, lesson.labels, self.class_weight, lesson.groups)
        chosen = choose_landmarks(len(lesson.labels), LANDMARKS, self.random_state)
        together = problem.select(chosen).together
        self.labels_ = lesson.labels[chosen]
        self.landmarks_: dict[str, npt.NDArray[np.float16]] = {}
        self._views: dict[str, View] = {}
        self.ridges_: list[DistanceRidge] = []
        self.metrics_: list[str] = []

        everything = {metric: MeanSeen() for metric in METRICS}
        *backbones, _ = experts = list(self._experts().values())
        for taps in backbones or experts:
            own = {metric: MeanSeen() for metric in METRICS}
            for tap, names in taps.items():
                for name in names:
                    view = self._views[name] = View.of(lesson.table.blocks[name], tap, lesson.labels, chosen)
                    self.landmarks_[name] = view.landmarks
                    for metric, seen in view.learn(lesson.table.blocks[name], chosen, together).items():
                        own[metric].add(tap, seen)
                        everything[metric].add(tap, seen)
            if backbones:
                self._fit_expert({metric: mean.distances(chosen) for metric, mean in own.items()}, problem)
        self._fit_expert({metric: mean.distances(chosen) for metric, mean in everything.items()}, problem)

        count = len(backbones)
        self.exponents_ = np.array([(1 - JOINT) / count] * count + [JOINT]) if count else np.ones(1)
        return self._pool(np.stack([ridge.out_of_fold_ for ridge in self.ridges_], axis=1))

    def _fit_expert(self, by_metric: dict[str, Distances], problem: Problem) -> None:
        """Of a ridge on plain and one on whitened distances, that which knows more of left-out photos."""
        ridges = {metric: DistanceRidge().fit(near, problem) for metric, near in by_metric.items()}
        best = min(ridges, key=lambda metric: ridges[metric].loss_)
        self.ridges_.append(ridges[best])
        self.metrics_.append(best)

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return self._pool(self._opinions(table))

    def _opinions(self, table: FeatureTable) -> FloatArray:
        """The experts' log-probabilities: (n, K, C)."""
        return np.concatenate([self._opinions_of(sight) for sight in self._sights(table)])

    def _opinions_of(self, sight: Sight) -> FloatArray:
        return np.stack([self._opinion(k, sight) for k in range(len(self.ridges_))], axis=1)

    def _opinion(self, k: int, sight: Sight) -> FloatArray:
        taps = list(self._experts().values())[k]
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
            for k, taps in enumerate(self._experts().values()):
                if name in taps.get(tap_of(name), ()):
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
        views: dict[str, View] = self.__dict__.setdefault("_views", {})
        if name not in views:
            views[name] = View(self.landmarks_[name], self.labels_, tap_of(name))
        return views[name]

    def _experts(self) -> dict[str, dict[str, list[str]]]:
        """Name → tap → the blocks that an expert looks at: those of one backbone each, and the last one at all."""
        own: dict[str, dict[str, list[str]]] = {}
        everything: dict[str, list[str]] = {}
        for name in self.blocks_:
            own.setdefault(backbone_of(name), {}).setdefault(tap_of(name), []).append(name)
            everything.setdefault(tap_of(name), []).append(name)
        return own | {"all blocks": everything} if len(own) > 1 else own

    def _pool(self, opinions: FloatArray) -> FloatArray:
        pooled: FloatArray = np.einsum("nkc,k->nc", opinions, self.exponents_)
        return pooled
