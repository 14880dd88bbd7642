"""Every method on the same photos: each backbone alone, the rivals, the mixture with each gate, and the oracle."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from manyeyes.experts import ClassWeight, Groups
from manyeyes.experts.folds import Rows, folds
from manyeyes.experts.panel import ExpertPanel
from manyeyes.features.table import FeatureTable
from manyeyes.fusion import FUSIONS
from manyeyes.fusion.fusion import Fusion
from manyeyes.gates import GATES
from manyeyes.study.metrics import Scores, score

SINGLE, RIVAL, GATE, BOUND = "backbone alone", "rival", "gate", "bound"


@dataclass(frozen=True)
class Result:
    """One method's scores, a :class:`Scores` for each split it was tried on."""

    method: str
    kind: str
    scores: tuple[Scores, ...]

    def mean(self, name: str) -> float:
        return float(np.mean([getattr(one, name) for one in self.scores]))

    def spread(self, name: str) -> float:
        """Standard deviation over the splits (0 for one split)."""
        return float(np.std([getattr(one, name) for one in self.scores]))


@dataclass(frozen=True)
class Comparison:
    """What all methods of a comparison have in common."""

    expert: str = "softmax"
    class_weight: ClassWeight = None
    thumbnail: int = 32
    random_state: int = 0

    def fusions(self) -> dict[str, tuple[str, Fusion]]:
        """Name → (kind, unfitted fusion)."""
        common = {"class_weight": self.class_weight, "random_state": self.random_state}
        on_experts = {"expert": self.expert, **common}

        def gated(gate: str) -> Fusion:
            mixture: Fusion = FUSIONS["mixture"](gate=gate, thumbnail=self.thumbnail, **on_experts)
            return mixture

        gates = {
            gate: f"cnn-{self.thumbnail}" if gate == "cnn" else gate for gate in GATES.names() if gate != "uniform"
        }
        rivals = {
            "best single, by cross-validation": (RIVAL, FUSIONS["best-single"](**on_experts)),
            "uniform mean": (RIVAL, gated("uniform")),
            "concat + softmax regression": (RIVAL, FUSIONS["concat-softmax"](**common)),
            "concat + RBF kernel ridge": (RIVAL, FUSIONS["concat-kernel-ridge"](**common)),
            "stacking": (RIVAL, FUSIONS["stacking"](**on_experts)),
        }
        return rivals | {f"mixture, {name} gate": (GATE, gated(gate)) for gate, name in gates.items()}

    def steps(self, table: FeatureTable) -> int:
        """How many times ``done`` is called for one split."""
        return len(table.blocks) + len(self.fusions())

    def on_split(
        self,
        table: FeatureTable,
        y: npt.NDArray[Any],
        train: Rows,
        test: Rows,
        groups: Groups | None,
        done: Callable[[str], None],
    ) -> Iterator[tuple[str, str, Scores]]:
        """(method, kind, scores) of every method, trained on some rows and judged on others.

        Every class of the test rows must be among the training rows. ``done`` hears of each finished step.
        """
        together = None if groups is None else groups[train]
        # Taking rows copies every block: once for all methods.
        known, new = table[train], table[test]
        panel = ExpertPanel(self.expert, self.class_weight, self.random_state).fit(known, y[train], together, done)
        labels = np.searchsorted(panel.classes_, y[test])
        opinions = panel.log_proba(new)
        for k, name in enumerate(table.names):
            yield name, SINGLE, score(opinions[:, k], labels)
        for name, (kind, fusion) in self.fusions().items():
            fusion.fit(known, y[train], together, panel)
            yield name, kind, score(fusion.predict_log_proba(new), labels)
            done(name)
        yield "oracle: any backbone right", BOUND, score(_oracle(opinions, labels), labels)

    def cross_validate(
        self,
        table: FeatureTable,
        y: npt.NDArray[Any],
        count: int = 2,
        groups: Groups | None = None,
        done: Callable[[str], None] = lambda name: None,
    ) -> list[Result]:
        """Results over ``count`` stratified folds (the paper's protocol is two: half to train, half to test).

        Rows of one group are kept together. A class of a single photo cannot be judged: it is trained on where it is
        there, and left out of the test rows. A fold that would have to train on one class only is left out.
        """
        _, labels = np.unique(y, return_inverse=True)
        splits = []
        for train, test in folds(labels.astype(np.int64), count, self.random_state, groups):
            known = np.isin(labels[test], labels[train])
            if known.any() and len(np.unique(labels[train])) > 1:
                splits.append((train, test[known]))
        return _gather(item for train, test in splits for item in self.on_split(table, y, train, test, groups, done))

    def hold_out(
        self,
        table: FeatureTable,
        y: npt.NDArray[Any],
        train: Rows,
        test: Rows,
        groups: Groups | None = None,
        done: Callable[[str], None] = lambda name: None,
    ) -> list[Result]:
        """Results on one given split."""
        return _gather(self.on_split(table, y, train, test, groups, done))


def _gather(items: Iterator[tuple[str, str, Scores]]) -> list[Result]:
    found: dict[tuple[str, str], list[Scores]] = {}
    for method, kind, scores in items:
        found.setdefault((method, kind), []).append(scores)
    return [Result(method, kind, tuple(scores)) for (method, kind), scores in found.items()]


def _oracle(opinions: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """For each photo the opinion of the expert that gives the true class most: right if any expert is. (n, C)."""
    is_right = opinions.argmax(axis=2) == labels[:, None]
    of_truth = opinions[np.arange(len(labels)), :, labels]
    best = np.where(is_right, of_truth + 1e3, of_truth).argmax(axis=1)
    chosen: npt.NDArray[np.float64] = log_softmax(opinions[np.arange(len(labels)), best], axis=1)
    return chosen
