"""Train a gate on out-of-fold expert outputs, starting from the plain mean of the experts.

The loss is the mixture's negative log-likelihood, ``-log Σ_k a_k(x) c_k(y | x)``. How many epochs are worth training is
chosen by cross-validation: the folds' gates advance in lockstep, their common held-out loss is watched, and the plain
mean is only left when that gains more than a standard error. The gate that is kept then learns from all rows for that
many epochs. A few hundred photos often hold no evidence whom to trust, and then the gate stays uniform.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from manyeyes.experts import Groups
from manyeyes.experts.folds import Rows, folds
from manyeyes.features.table import FeatureTable
from manyeyes.gates.gate import Gate

MAX_EPOCHS = 60
PATIENCE = 6
FOLDS = 4
BATCH = 64
WEIGHT_DECAY = 3e-2
# With more photos than this an epoch is a random part of them: the gates are small and learn no more from the rest.
EPOCH_ROWS = 8192

FloatArray = npt.NDArray[np.float64]


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
    thumbnail: int = 32,
    seed: int = 0,
) -> TrainedGate:
    """Fit a gate to out-of-fold ``log_proba`` (n, K, C) and the true ``labels`` (n,); rows count ``weights`` (n,)."""
    likelihood = torch.from_numpy(log_proba[np.arange(len(labels)), :, labels]).float()
    lesson = _Lesson(likelihood, torch.from_numpy(weights).float())
    splits = list(folds(labels, FOLDS, seed, groups))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gates = [kind.for_table(table, thumbnail) for _ in range(len(splits) + 1)]
        final = gates.pop()
        if not kind.trainable or not splits or len(table.blocks) == 1:
            return TrainedGate(final, 0, log_weights(final, table))
        # Means and scales are the same for all folds (they know no labels), so what is seen can be shared.
        seen = final.look(table)
        runs = [_Run(gate, seen, lesson, *split, seed) for gate, split in zip(gates, splits, strict=True)]
        epochs, held_out = _choose_epochs(runs, lesson)
        run = _Run(final, seen, lesson, np.arange(len(labels)), np.arange(0), seed)
        for _ in range(epochs):
            run.train_epoch()
    return TrainedGate(final.eval(), epochs, held_out)


def log_weights(gate: Gate, table: FeatureTable) -> FloatArray:
    """``log a(x)`` for every row of the table: (n, K)."""
    with torch.no_grad():
        parts = [gate(gate.look(table[start : start + 512])) for start in range(0, len(table), 512)]
    return torch.cat(parts).double().numpy() if parts else np.empty((0, len(table.blocks)))


def mixture_loss(log_weights: Tensor, likelihood: Tensor) -> Tensor:
    """``-log Σ_k a_k c_k(y)`` of each row, from log a and log c(y), both (B, K): (B,)."""
    return -torch.logsumexp(log_weights + likelihood, dim=1)


@dataclass(frozen=True)
class _Lesson:
    """likelihood : (n, K), each expert's out-of-fold log-probability of the true label. weights : (n,)."""

    likelihood: Tensor
    weights: Tensor


class _Run:
    """One gate on its way, with the rows it learns from and those it is judged by."""

    def __init__(self, gate: Gate, seen: Tensor, lesson: _Lesson, train: Rows, held: Rows, seed: int) -> None:
        self.gate, self.held = gate, torch.from_numpy(held)
        self._seen, self._lesson, self._train = seen, lesson, train
        self._optimiser = torch.optim.AdamW(gate.parameters(), lr=gate.learning_rate, weight_decay=WEIGHT_DECAY)
        self._shuffler = np.random.default_rng(seed)

    def train_epoch(self) -> None:
        self.gate.train()
        order = torch.from_numpy(self._shuffler.permutation(self._train)[:EPOCH_ROWS])
        for batch in torch.split(order, BATCH):
            losses = mixture_loss(self.gate(self._seen[batch]), self._lesson.likelihood[batch])
            self._optimiser.zero_grad()
            (losses * self._lesson.weights[batch]).mean().backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()

    @torch.no_grad()
    def judge(self) -> Tensor:
        """Log-weights of the held-out rows."""
        self.gate.eval()
        return torch.cat([self.gate(self._seen[part]) for part in torch.split(self.held, 512)])


def _choose_epochs(runs: list[_Run], lesson: _Lesson) -> tuple[int, FloatArray]:
    """The number of epochs that is worth training, and the held-out log-weights there."""
    start_losses, start_log_weights = _judge_all(runs, lesson)
    best, best_losses, best_log_weights = 0, start_losses, start_log_weights
    for epoch in range(1, MAX_EPOCHS + 1):
        for run in runs:
            run.train_epoch()
        losses, log_weights = _judge_all(runs, lesson)
        if losses.mean() < best_losses.mean():
            best, best_losses, best_log_weights = epoch, losses, log_weights
        elif epoch - best >= PATIENCE:
            break
    gain = start_losses - best_losses
    if gain.mean() <= gain.std() / len(gain) ** 0.5:
        best, best_log_weights = 0, start_log_weights
    return best, best_log_weights.double().numpy()


def _judge_all(runs: list[_Run], lesson: _Lesson) -> tuple[Tensor, Tensor]:
    """Weighted loss (n,) and log-weights (n, K) of every row, each by the gate that had not seen it."""
    log_weights = torch.empty_like(lesson.likelihood)
    for run in runs:
        log_weights[run.held] = run.judge()
    return mixture_loss(log_weights, lesson.likelihood) * lesson.weights, log_weights
