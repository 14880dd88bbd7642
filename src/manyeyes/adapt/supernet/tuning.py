"""Train all paths of a supernet on the target at once, and judge one of them: NTAA-style, stage (ii).

Each step trains the full path, the smallest and some between (the sandwich rule of "Universally Slimmable Networks",
Yu and Huang, 2019); all but the full one also learn what the full one says (in-place distillation).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, softmax

from manyeyes.adapt.adapting import Course
from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.supernet.space import Path
from manyeyes.adapt.supernet.statistics import by_batch, calibrated
from manyeyes.adapt.supernet.supernet import Supernet
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.adapt.training.task import Batch, DomainTask, Score, score
from manyeyes.errors import AdaptError

# Paths between the full and the smallest one that are trained in each step.
BETWEEN = 2
# Photos that the norms of a path go by, and how many of them are looked at in one go.
CALIBRATED, BATCH = 512, 64


class SupernetTask(DomainTask):
    """Train one domain of a bank, which has all weights of its own, on all paths of the supernet of the bank's network.

    Held-out photos judge the full path.
    """

    def __init__(self, bank: DomainBank, supernet: Supernet, course: Course, recipe: Recipe) -> None:
        super().__init__(bank, course.name, course.photos, course.train, course.held, recipe)
        if self.domain.adapters or self.domain.gates:
            raise AdaptError(
                "a supernet is tuned in all its weights, or its norms: adapters and gates fit one path only"
            )
        self.supernet = supernet
        self._random = np.random.default_rng(recipe.seed)

    def batch(self, epoch: int, step: int) -> Batch:
        # The paths of a step, too, are the same for the same numbers.
        self._random = np.random.default_rng([self._recipe.seed, epoch, step, 1])
        return super().batch(epoch, step)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        said = module(*batch.inputs, batch.domain)
        loss, right = self.loss_of(said, batch.labels)
        teacher = softmax(said.logits.detach(), dim=1)
        space = self.supernet.space
        for path in (space.smallest, *(space.sample(self._random) for _ in range(BETWEEN))):
            with self.supernet.on(path), by_batch(self.bank.network):
                said = module(*batch.inputs, batch.domain)
            told = kl_div(log_softmax(said.logits, dim=1), teacher, reduction="batchmean")
            loss = loss + (self.loss_of(said, batch.labels)[0] + told) / 2
        return loss, right


def score_path(bank: DomainBank, supernet: Supernet, course: Course, path: Path) -> Score:
    """How good a path is on the held-out photos of a course, its norms by those that it trains on."""
    with on_calibrated(bank, supernet, course, path):
        return score(bank, course.name, course.photos, course.held)


@contextmanager
def on_calibrated(bank: DomainBank, supernet: Supernet, course: Course, path: Path) -> Iterator[None]:
    """The bank sees by a path, its norms by the photos that a course trains on, for the time of a block."""
    rows = np.random.default_rng(0).permutation(course.train)[:CALIBRATED]

    def look() -> None:
        for part in np.array_split(rows, -(-len(rows) // BATCH)):
            bank.features(course.photos.centres(part).to(next(bank.parameters()).device))

    with bank.using(course.name), supernet.on(path):
        bank.eval()
        if path == supernet.space.full:  # its statistics are its own
            yield
        else:
            with calibrated(bank.network, look):
                yield
