"""Train a gate on out-of-fold expert outputs, starting from where it weighs all experts alike.

How many epochs are worth training is chosen by cross-validation: the folds' gates advance in lockstep, and the epoch is
taken of which it is surest that it gains over the start on rows held out: that with the highest lower confidence bound
of the gain. A few hundred photos often hold no evidence whom to trust; then no bound is above zero, and the gate stays
uniform.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manyeyes.experts import FloatArray
from manyeyes.experts.folds import Rows, folds
from manyeyes.features.table import FeatureTable
from manyeyes.gates.gate import Gate
from manyeyes.gates.mixing import PART, log_weights
from manyeyes.gates.objectives import Objective
from manyeyes.threads import open_pool

MAX_EPOCHS = 60
# Epochs without a better bound before the folds give up; with many photos fewer, as an epoch then has more steps.
PATIENCE = 6
PATIENCE_STEPS = 96
FOLDS = 4
BATCH = 64
WEIGHT_DECAY = 3e-2
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


def train_gate(kind: type[Gate], table: FeatureTable, objective: Objective, seed: int = 0) -> TrainedGate:
    """Train a gate over the blocks of a table for an objective of its photos."""
    splits = list(folds(objective.labels, FOLDS, seed, objective.groups))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gates = [kind.for_table(table) for _ in range(len(splits) + 1)]
        final = gates.pop()
        if not kind.trainable or not splits or len(table.blocks) == 1:
            return TrainedGate(final, 0, log_weights(final, table))
        # Means and scales are the same for all folds (they know no labels), so what is seen can be shared.
        seen = final.look(table)
        runs = [_Run(gate, seen, objective, *split, seed) for gate, split in zip(gates, splits, strict=True)]
        with open_pool() as pool:
            epochs, held_out = _choose_epochs(runs, objective, pool)
        run = _Run(final, seen, objective, np.arange(len(table)), np.arange(0), seed)
        for _ in range(epochs):
            run.train_epoch()
    return TrainedGate(final.eval(), epochs, held_out)


class _Run:
    """One gate on its way, with the rows it learns from and those it is judged by."""

    def __init__(self, gate: Gate, seen: Tensor, objective: Objective, train: Rows, held: Rows, seed: int) -> None:
        self.gate, self.held = gate, held
        self._seen, self._objective, self._train = seen, objective, train
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
            loss = self._objective.loss(self.gate(self._seen[batch]), batch)
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()

    @torch.no_grad()
    def judge(self) -> FloatArray:
        """Log-weights of the held-out rows: (held, K)."""
        self.gate.eval()
        parts = [self.gate(self._seen[part]) for part in torch.split(torch.from_numpy(self.held), PART)]
        return torch.cat(parts).double().numpy()


def _choose_epochs(runs: list[_Run], objective: Objective, pool: ThreadPoolExecutor) -> tuple[int, FloatArray]:
    """The number of epochs that is worth training, and the held-out log-weights there."""
    start = _judge_all(runs, objective, pool)
    start_losses = objective.judge(start)
    best, best_bound, best_log_weights = 0, 0.0, start
    patience = max(2, min(PATIENCE, -(-PATIENCE_STEPS // runs[0].steps)))
    for epoch in range(1, MAX_EPOCHS + 1):
        list(pool.map(_Run.train_epoch, runs))
        held_out = _judge_all(runs, objective, pool)
        bound = objective.lower_bound(start_losses - objective.judge(held_out))
        if bound > best_bound:
            best, best_bound, best_log_weights = epoch, bound, held_out
        elif epoch - best >= patience:
            break
    return best, best_log_weights


def _judge_all(runs: list[_Run], objective: Objective, pool: ThreadPoolExecutor) -> FloatArray:
    """Log-weights (n, K) of every row, each by the gate that had not seen it."""
    log_weights = np.empty((sum(len(run.held) for run in runs), objective.experts))
    for run, judged in zip(runs, pool.map(_Run.judge, runs), strict=True):
        log_weights[run.held] = judged
    return log_weights
