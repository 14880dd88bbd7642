"""What a gate is trained for: to mix experts well, or to pick one of several by what it says and what it costs."""

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from manyeyes.experts import FloatArray, Groups
from manyeyes.experts.calibration import fit_temperature, tempered
from manyeyes.gates.mixing import MIXERS, Space

# How far below its mean the confidence bound of a gain lies.
STANDARD_ERRORS = 2.0


class Objective(ABC):
    """Of n photos, whose classes are ``labels`` (n,) and which count ``weights`` (n,). Rows that share a group, (n,),
    are one observation. The gate weighs K ``experts``.
    """

    def __init__(self, labels: npt.NDArray[np.int64], weights: FloatArray, groups: Groups | None, experts: int) -> None:
        self.labels, self.weights, self.groups, self.experts = labels, weights, groups, experts
        self._group = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
        self._row_weights = torch.from_numpy(weights).float()

    def loss(self, log_weights: Tensor, rows: Tensor) -> Tensor:
        """The weighted mean loss of these rows, whose log-weights are (B, K)."""
        return (self._losses_of(log_weights, rows) * self._row_weights[rows]).mean()

    @abstractmethod
    def _losses_of(self, log_weights: Tensor, rows: Tensor) -> Tensor:
        """Loss of each of these rows: (B,)."""

    @abstractmethod
    def judge(self, log_weights: FloatArray) -> FloatArray:
        """What each row loses, (n,), by what the gate is used for and by log-weights (n, K) that had not seen it."""

    def lower_bound(self, gain: FloatArray) -> float:
        """The mean gain of the rows (n,) less two standard errors; rows of one group count as one observation."""
        by_group = np.bincount(self._group, gain)
        return float(by_group.sum() - STANDARD_ERRORS * by_group.std() * len(by_group) ** 0.5) / len(gain)


class Mixing(Objective):
    """To mix experts, whose out-of-fold log-probabilities are ``log_proba`` (n, K, C), in this space.

    What gains is the loss of the calibrated mixture: the mean of many experts is underconfident, and a gate must not be
    praised for sharpening it, which a temperature does as well.
    """

    def __init__(
        self,
        log_proba: FloatArray,
        labels: npt.NDArray[np.int64],
        weights: FloatArray,
        groups: Groups | None = None,
        space: Space = "probability",
    ) -> None:
        super().__init__(labels, weights, groups, log_proba.shape[1])
        self._log_proba, self._mix = log_proba, MIXERS[space]
        self._targets = torch.from_numpy(labels)
        # Each expert's log-probability of the true label, (n, K): all that training needs of probabilities.
        of_truth = log_proba[np.arange(len(labels)), :, labels]
        self._opinions = torch.from_numpy(of_truth if space == "probability" else log_proba).float()

    def _losses_of(self, log_weights: Tensor, rows: Tensor) -> Tensor:
        opinions = self._opinions[rows]
        if opinions.ndim == 2:
            return mixture_loss(log_weights, opinions)
        return pool_loss(log_weights, opinions, self._targets[rows])

    def judge(self, log_weights: FloatArray) -> FloatArray:
        mixed = self._mix(log_weights, self._log_proba)
        calibrated = tempered(mixed, fit_temperature(mixed, self.labels, self.weights))
        losses: FloatArray = -calibrated[np.arange(len(self.labels)), self.labels] * self.weights
        return losses


class Picking(Objective):
    """To pick one of K, each of which is wrong with the probabilities ``risks`` (n, K) and costs ``costs`` (n, K), in
    units of risk: the loss is the expectation of both, ``Σ_k a_k(x) (risk_k + cost_k)``.

    The gate's weights are times those of ``prior`` (K,), in logarithms: whom to pick when a photo says nothing, softly,
    so that training can move it. What gains is what is lost by the one that is picked.
    """

    def __init__(
        self,
        risks: FloatArray,
        costs: FloatArray,
        labels: npt.NDArray[np.int64],
        weights: FloatArray,
        groups: Groups | None = None,
    ) -> None:
        super().__init__(labels, weights, groups, risks.shape[1])
        self._lost = risks + costs
        mean = np.average(self._lost, axis=0, weights=weights)
        above = mean - mean.min()
        self.prior: FloatArray = -above / (above.mean() + 1e-12)
        self._all_lost, self._log_prior = torch.from_numpy(self._lost).float(), torch.from_numpy(self.prior).float()

    def _losses_of(self, log_weights: Tensor, rows: Tensor) -> Tensor:
        return expected_loss(torch.log_softmax(log_weights + self._log_prior, dim=1), self._all_lost[rows])

    def judge(self, log_weights: FloatArray) -> FloatArray:
        picked = (log_weights + self.prior).argmax(axis=1)
        losses: FloatArray = self._lost[np.arange(len(picked)), picked] * self.weights
        return losses


def mixture_loss(log_weights: Tensor, likelihood: Tensor) -> Tensor:
    """``-log Σ_k a_k c_k(y)`` of each row, from log a and log c(y), both (B, K): (B,)."""
    return -torch.logsumexp(log_weights + likelihood, dim=1)


def pool_loss(log_weights: Tensor, log_proba: Tensor, labels: Tensor) -> Tensor:
    """``-Σ_k a_k log c_k(y)``, with what makes the pool probabilities, from (B, K), (B, K, C) and (B,): (B,)."""
    pooled = torch.einsum("bk,bkc->bc", log_weights.exp(), log_proba)
    return torch.nn.functional.cross_entropy(pooled, labels, reduction="none")


def expected_loss(log_weights: Tensor, losses: Tensor) -> Tensor:
    """``Σ_k a_k loss_k`` of each row, from log a and the losses, both (B, K): (B,)."""
    return (log_weights.exp() * losses).sum(dim=1)
