"""Train a gate on out-of-fold expert outputs, starting from the plain mean of the experts.

The loss is the mixture's negative log-likelihood, ``-log Σ_k a_k(x) c_k(y | x)``. How many epochs are worth training is
chosen by cross-validation: the folds' gates advance in lockstep, and the epoch is taken of which it is surest that it
gains over the plain mean on rows held out: that with the highest lower confidence bound of the gain. A few hundred
photos often hold no evidence whom to trust; then no bound is above zero, and the gate stays uniform.

What gains is the loss of the calibrated mixture: the mean of many experts is underconfident, and a gate must not be
praised for sharpening it, which a temperature does as well.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from manyeyes.experts import FloatArray, Groups
from manyeyes.experts.calibration import fit_temperature, tempered
from manyeyes.experts.folds import Rows, folds
from manyeyes.features.table import FeatureTable
from manyeyes.gates.gate import Gate
from manyeyes.gates.mixing import MIXERS, PART, Space, log_weights
from manyeyes.threads import open_pool

MAX_EPOCHS = 60
# Epochs without a better bound before the folds give up; with many photos fewer, as an epoch then has more steps.
PATIENCE = 6
PATIENCE_STEPS = 96
FOLDS = 4
BATCH = 64
WEIGHT_DECAY = 3e-2
# How far below its mean the confidence bound of a gain lies.
STANDARD_ERRORS = 2.0
# With more photos than this an epoch is a random part of them: the gates are small and learn no more from the rest.
EPOCH_ROWS = 8192


@dataclass(frozen=True)
class TrainedGate:
    """gate : trained on all rows. epochs : how many were worth it; 0 means that the uniform start was best.
    held_out : (n, K) log-weights of the training rows by gates that had not seen them; honest to calibrate on.
    """

    gate: Gate
    epochs: int
    held_out: FloatArray


def train_gate(
    kind: type[Gate],
    table: FeatureTable,
    log_proba: FloatArray,
    labels: npt.NDArray[np.int64],
    weights: FloatArray,
    groups: Groups | None = None,
    seed: int = 0,
    space: Space = "probability",
) -> TrainedGate:
    """Fit a gate to out-of-fold ``log_proba`` (n, K, C) and the true ``labels`` (n,); rows count ``weights`` (n,).

    ``space`` is where it will mix the experts.
    """
    lesson = _Lesson(log_proba, labels, weights, groups, space)
    splits = list(folds(labels, FOLDS, seed, groups))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gates = [kind.for_table(table) for _ in range(len(splits) + 1)]
        final = gates.pop()
        if not kind.trainable or not splits or len(table.blocks) == 1:
            return TrainedGate(final, 0, log_weights(final, table))
        # Means and scales are the same for all folds (they know no labels), so what is seen can be shared.
        seen = final.look(table)
        runs = [_Run(gate, seen, lesson, *split, seed) for gate, split in zip(gates, splits, strict=True)]
        with open_pool() as pool:
            epochs, held_out = _choose_epochs(runs, lesson, pool)
        run = _Run(final, seen, lesson, np.arange(len(labels)), np.arange(0), seed)
        for _ in range(epochs):
            run.train_epoch()
    return TrainedGate(final.eval(), epochs, held_out)


def mixture_loss(log_weights: Tensor, likelihood: Tensor) -> Tensor:
    """``-log Σ_k a_k c_k(y)`` of each row, from log a and log c(y), both (B, K): (B,)."""
    return -torch.logsumexp(log_weights + likelihood, dim=1)


def pool_loss(log_weights: Tensor, log_proba: Tensor, labels: Tensor) -> Tensor:
    """``-Σ_k a_k log c_k(y)``, with what makes the pool probabilities, from (B, K), (B, K, C) and (B,): (B,)."""
    pooled = torch.einsum("bk,bkc->bc", log_weights.exp(), log_proba)
    return torch.nn.functional.cross_entropy(pooled, labels, reduction="none")


class _Lesson:
    """What the gates of all folds learn from and are judged by."""

    def __init__(
        self,
        log_proba: FloatArray,
        labels: npt.NDArray[np.int64],
        weights: FloatArray,
        groups: Groups | None,
        space: Space,
    ) -> None:
        self._log_proba, self._labels, self._weights = log_proba, labels, weights
        self._group = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
        self._mix = MIXERS[space]
        self._row_weights = torch.from_numpy(weights).float()
        self._targets = torch.from_numpy(labels)
        # Each expert's log-probability of the true label, (n, K): all that training needs of probabilities.
        of_truth = log_proba[np.arange(len(labels)), :, labels]
        self._opinions = torch.from_numpy(of_truth if space == "probability" else log_proba).float()
        self.experts = log_proba.shape[1]

    def loss(self, log_weights: Tensor, rows: Tensor) -> Tensor:
        """The weighted mean loss of these rows, whose log-weights are (B, K)."""
        opinions = self._opinions[rows]
        if opinions.ndim == 2:
            losses = mixture_loss(log_weights, opinions)
        else:
            losses = pool_loss(log_weights, opinions, self._targets[rows])
        return (losses * self._row_weights[rows]).mean()

    def calibrated_losses(self, log_weights: FloatArray) -> FloatArray:
        """Weighted log loss of each row, (n,), once the mixture has its best temperature."""
        mixed = self._mix(log_weights, self._log_proba)
        calibrated = tempered(mixed, fit_temperature(mixed, self._labels, self._weights))
        losses: FloatArray = -calibrated[np.arange(len(self._labels)), self._labels] * self._weights
        return losses

    def lower_bound(self, gain: FloatArray) -> float:
        """The mean gain of the rows (n,) less two standard errors; rows of one group count as one observation."""
        by_group = np.bincount(self._group, gain)
        return float(by_group.sum() - STANDARD_ERRORS * by_group.std() * len(by_group) ** 0.5) / len(gain)


class _Run:
    """One gate on its way, with the rows it learns from and those it is judged by."""

    def __init__(self, gate: Gate, seen: Tensor, lesson: _Lesson, train: Rows, held: Rows, seed: int) -> None:
        self.gate, self.held = gate, held
        self._seen, self._lesson, self._train = seen, lesson, train
        self._optimiser = torch.optim.AdamW(
            gate.parameters(), lr=gate.learning_rate, weight_decay=WEIGHT_DECAY, fused=True
        )
        self._shuffler = np.random.default_rng(seed)

    @property
    def steps(self) -> int:
        """Of one epoch."""
        return -(-min(len(self._train), EPOCH_ROWS) // BATCH)

    def train_epoch(self) -> None:
        self.gate.train()
        order = torch.from_numpy(self._shuffler.permutation(self._train)[:EPOCH_ROWS])
        for batch in torch.split(order, BATCH):
            loss = self._lesson.loss(self.gate(self._seen[batch]), batch)
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()

    @torch.no_grad()
    def judge(self) -> FloatArray:
        """Log-weights of the held-out rows: (held, K)."""
        self.gate.eval()
        parts = [self.gate(self._seen[part]) for part in torch.split(torch.from_numpy(self.held), PART)]
        return torch.cat(parts).double().numpy()


def _choose_epochs(runs: list[_Run], lesson: _Lesson, pool: ThreadPoolExecutor) -> tuple[int, FloatArray]:
    """The number of epochs that is worth training, and the held-out log-weights there."""
    start = _judge_all(runs, lesson, pool)
    start_losses = lesson.calibrated_losses(start)
    best, best_bound, best_log_weights = 0, 0.0, start
    patience = max(2, min(PATIENCE, -(-PATIENCE_STEPS // runs[0].steps)))
    for epoch in range(1, MAX_EPOCHS + 1):
        list(pool.map(_Run.train_epoch, runs))
        held_out = _judge_all(runs, lesson, pool)
        bound = lesson.lower_bound(start_losses - lesson.calibrated_losses(held_out))
        if bound > best_bound:
            best, best_bound, best_log_weights = epoch, bound, held_out
        elif epoch - best >= patience:
            break
    return best, best_log_weights


def _judge_all(runs: list[_Run], lesson: _Lesson, pool: ThreadPoolExecutor) -> FloatArray:
    """Log-weights (n, K) of every row, each by the gate that had not seen it."""
    log_weights = np.empty((sum(len(run.held) for run in runs), lesson.experts))
    for run, judged in zip(runs, pool.map(_Run.judge, runs), strict=True):
        log_weights[run.held] = judged
    return log_weights
