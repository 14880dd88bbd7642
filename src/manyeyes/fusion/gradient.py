"""Train by gradient descent on the log loss, and stop when rows held out say so: Adam, batches, early stopping."""

from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils import assert_all_finite
from torch import Tensor, nn

from manyeyes.experts import FloatArray
from manyeyes.experts.folds import Rows, folds, knowing_all
from manyeyes.experts.lesson import Lesson
from manyeyes.experts.scaling import column_scales
from manyeyes.experts.weights import class_weights
from manyeyes.features.table import FeatureTable
from manyeyes.threads import one_thread

EPOCHS = 100
PATIENCE = 10
# Nats a photo by which an epoch must be better than the best before it, to be waited on.
MIN_GAIN = 1e-3
BATCH = 128
# Few photos are parted into smaller batches: a handful of steps an epoch would not come far in a hundred epochs.
STEPS = 16
LEARNING_RATE = 1e-3
# Parameters of a model below which several threads wait for one another longer than they work.
SMALL = 100_000
# L2 on what maps features to classes.
WEIGHT_DECAY = 1e-4
# One fold in so many is held out, or one in fewer when even the largest class has fewer photos.
FOLDS = 10


@dataclass(frozen=True)
class Standardised:
    """A block at mean 0 and standard deviation 1, (n, D) float32, and what it was before: ``rows * scale + mean``.

    Columns that vary less than the median column of their part keep their proportion to that one.
    """

    rows: Tensor
    mean: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, *parts: npt.NDArray[np.float32]) -> Self:
        """The parts (n, D_i), whose columns share a unit each, side by side. Raises ValueError for NaN or infinity."""
        for part in parts:
            assert_all_finite(part)
        block = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        mean = block.mean(axis=0, dtype=np.float64)
        centred = block - mean
        scale = column_scales(centred, mean, tuple(part.shape[1] for part in parts))
        return cls(torch.from_numpy((centred / scale).astype(np.float32)), mean, scale)


def split_off(lesson: Lesson) -> tuple[Rows, Rows]:
    """Rows to train on, and about a tenth of the rows to stop by: every class and no group of these is among the first.

    None to stop by when there is nothing that could be held out.
    """
    every = np.arange(len(lesson.labels))
    split = next(folds(lesson.labels, FOLDS, lesson.random_state, lesson.groups), None)
    if split is None:
        return every, every[:0]
    return knowing_all(*split, lesson.labels, lesson.groups)


def known_of(held: Rows, lesson: Lesson, say: Callable[[FeatureTable], FloatArray]) -> FloatArray:
    """What ``say`` says of the held-out rows, and NaN for all others: (n, C) log-probabilities."""
    said = np.full((len(lesson.labels), len(lesson.classes)), np.nan)
    if len(held):
        said[held] = say(lesson.table[held])
    return said


def train(model: nn.Module, optimiser: torch.optim.Optimizer, lesson: Lesson, rows: Rows, held: Rows) -> int:
    """Train ``model``, which takes row numbers (B,) to log-probabilities (B, C), and return for how many epochs.

    The model is left as it was at its best on the held-out rows; 0 means that it was best at the start. Without any to
    judge by it is trained for as many epochs as are otherwise waited for a better one.
    """
    is_small = sum(parameter.numel() for parameter in model.parameters()) < SMALL
    with one_thread() if is_small else nullcontext():
        return _train(model, optimiser, lesson, rows, held)


def _train(model: nn.Module, optimiser: torch.optim.Optimizer, lesson: Lesson, rows: Rows, held: Rows) -> int:
    labels = torch.from_numpy(lesson.labels)
    weights = torch.from_numpy(class_weights(lesson.class_weight, lesson.classes, lesson.labels)).float()

    def loss(some: Tensor) -> Tensor:
        losses = torch.nn.functional.nll_loss(model(some), labels[some], reduction="none")
        return (losses * weights[some]).mean()

    def judge() -> float:
        model.eval()
        with torch.no_grad():
            return float(loss(torch.from_numpy(held)))

    shuffler = np.random.default_rng(lesson.random_state)
    is_judged = len(held) > 0
    best, best_loss, best_state = 0, judge() if is_judged else 0.0, deepcopy(model.state_dict())
    batch_size = min(BATCH, -(-len(rows) // STEPS))
    for epoch in range(1, (EPOCHS if is_judged else PATIENCE) + 1):
        model.train()
        for batch in torch.split(torch.from_numpy(shuffler.permutation(rows)), batch_size):
            optimiser.zero_grad()
            loss(batch).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        if not is_judged:
            best = epoch
        elif (reached := judge()) < best_loss - MIN_GAIN:
            best, best_loss, best_state = epoch, reached, deepcopy(model.state_dict())
        elif epoch - best >= PATIENCE:
            break
    if is_judged:
        model.load_state_dict(best_state)
    model.eval()
    return best
