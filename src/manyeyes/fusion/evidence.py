"""Which backbones to use together, by Bayesian evidence (Kim et al., CVPR 2016, arXiv 1506.02565), and a model of them.

Classes are regressed one against the rest (±1) on the L2-normalised blocks side by side, so that a set of blocks is the
sum of their linear kernels. The evidence of that model needs no held-out rows: it pays for what a block explains, and
charges for what it could have explained and did not. Greedily, the block that raises the evidence most joins the set,
as long as one does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import assert_all_finite
from threadpoolctl import threadpool_limits

from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.lesson import Lesson
from manyeyes.experts.weights import class_weights
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.bayesian_linear import BayesianLinear, centred, decompose, maximise_evidence, see
from manyeyes.fusion.fusion import Fusion

Labels = npt.NDArray[Any]
Rows = npt.NDArray[np.float32]

# Rows that sets are compared on: K²/2 eigendecompositions of that size are to take seconds.
ROWS = 600
# Nats a photo and class that a block must add. A copy of a block can add some ten-thousandths, by doubling its weight.
LEAST_GAIN = 5e-4


@dataclass(frozen=True)
class Step:
    """A block that joined the set, and the evidence of the set with it, in nats a photo and class."""

    block: str
    evidence: float


class Evidence:
    """The evidence of sets of blocks for the same labels.

    Parameters
    ----------
    blocks : name → (n, D).
    labels : (n,).
    weights : (n,) of the rows, or None for 1 each.
    rows : of more rows than this, a stratified part is taken; it holds at least one of each class.
    random_state : seed of which rows are taken.
    """

    def __init__(
        self,
        blocks: Mapping[str, npt.NDArray[Any]],
        labels: Labels,
        weights: FloatArray | None = None,
        rows: int = ROWS,
        random_state: int = 0,
    ) -> None:
        taken = stratified(np.unique(labels, return_inverse=True)[1], rows, random_state)
        part = np.ones(len(taken)) if weights is None else weights[taken]
        self._targets = centred(one_against_rest(labels[taken]), part)
        self._grams = {name: _gram(block[taken], part) for name, block in blocks.items()}

    def of(self, names: Sequence[str]) -> float:
        """In nats a photo and class, of the named blocks side by side; of none, of knowing nothing of a photo."""
        nothing = np.zeros_like(next(iter(self._grams.values())))
        gram = np.sum([nothing, *(self._grams[name] for name in names)], axis=0)
        spectrum = see(*decompose(gram), self._targets)
        return float(maximise_evidence(spectrum).evidence.mean() / len(self._targets))


def select_by_evidence(
    blocks: Mapping[str, npt.NDArray[Any]],
    labels: Labels,
    weights: FloatArray | None = None,
    rows: int = ROWS,
    random_state: int = 0,
) -> list[Step]:
    """The greedy selection of blocks, in the order in which they joined: one at least. Parameters as of Evidence."""
    evidence = Evidence(blocks, labels, weights, rows, random_state)
    steps: list[Step] = []
    # On matrices this small several threads of the BLAS wait for one another longer than they work.
    with threadpool_limits(1, "blas"):
        while left := [name for name in blocks if name not in {step.block for step in steps}]:
            chosen = [step.block for step in steps]
            best = max((Step(name, evidence.of([*chosen, name])) for name in left), key=lambda step: step.evidence)
            if steps and best.evidence < steps[-1].evidence + LEAST_GAIN:
                break
            steps.append(best)
    return steps


class EvidenceSelection(Fusion):
    """Bayesian linear regression on the blocks that greedy selection by evidence finds.

    Blocks are selected on at most 600 photos; the model is then fitted to all. Its temperature is fitted to what it
    says of each photo when that is left out.

    Parameters
    ----------
    class_weight, random_state : as in MixtureOfExperts.

    Attributes (beside those of every fusion)
    ----------
    evidence_ : name of each selected block → evidence, in nats a photo and class, when it had joined; in that order.
    coef_, intercept_ : (D, C) and (C,), for the selected blocks side by side, each row of a block of length 1.
    ratios_ : (C,), precision of the weights over precision of the noise, of each class.
    """

    def __init__(self, class_weight: ClassWeight = None, random_state: int = 0) -> None:
        self.class_weight = class_weight
        self.random_state = random_state

    def _fit(self, lesson: Lesson) -> FloatArray:
        # The lesson's own weights leave out photos that cannot be judged; there is something to learn from them.
        weights = class_weights(self.class_weight, lesson.classes, lesson.labels)
        blocks = {name: lesson.table.blocks[name] for name in self.blocks_}
        steps = select_by_evidence(blocks, lesson.labels, weights, random_state=self.random_state)
        self.evidence_ = {step.block: step.evidence for step in steps}
        rows = np.concatenate([unit_rows(blocks[name]) for name in self.evidence_], axis=1)
        model = BayesianLinear(rows, one_against_rest(lesson.labels), weights, lesson.groups)
        self.coef_, self.intercept_, self.ratios_ = model.coef, model.intercept, model.ratios
        return model.left_out

    def _keep_blocks(self, kept: list[int]) -> bool:
        return set(self.evidence_) <= set(self.blocks_)

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        blocks = [unit_rows(table.blocks[name]) for name in self.evidence_]
        coefs = np.split(self.coef_, np.cumsum([block.shape[1] for block in blocks])[:-1])
        outputs = np.tile(self.intercept_, (len(table), 1))
        for block, coef in zip(blocks, coefs, strict=True):
            # In float64: in float32 a photo's outputs would depend on which others are looked at with it.
            outputs += block.astype(np.float64) @ coef
        return outputs


def one_against_rest(labels: Labels) -> FloatArray:
    """+1 for each row's class and -1 for all others: (n, C)."""
    targets: FloatArray = 2.0 * (np.unique(labels) == labels[:, None]) - 1
    return targets


def unit_rows(block: npt.NDArray[Any]) -> Rows:
    """Rows of length 1; rows of zeros stay. Raises ValueError for what is no number."""
    assert_all_finite(block)
    rows = block.astype(np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(length > 0, length, 1)
    return rows


def _gram(block: npt.NDArray[Any], weights: FloatArray) -> Rows:
    rows = centred(unit_rows(block), weights)
    gram: Rows = rows @ rows.T
    return gram


def stratified(labels: npt.NDArray[np.int64], count: int, seed: int) -> npt.NDArray[np.int64]:
    """At most ``count`` rows at random, about the same share of each class, and at least one where that is possible."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.bincount(labels)
    place = np.empty(len(labels))  # of each row in its class, from 0 to 1
    place[by_class] = np.concatenate([np.arange(size) / size for size in sizes])
    return np.sort(np.argsort(place, kind="stable")[:count])
