"""Train all paths of a supernet on the target at once: NTAA-style, stage (ii).

Each step trains the full path, the thinnest one and some between: the sandwich rule of "Universally Slimmable
Networks" (Yu and Huang, 2019). The full one learns from the labels, all others what the full one says (in-place
distillation, of the same paper). Later on half of those between are drawn near paths that have turned out well, as in
NAT (Lu et al., 2021).
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, softmax

from manyeyes.adapt.adapting import Course
from manyeyes.adapt.supernet.front import on_front
from manyeyes.adapt.supernet.space import Path
from manyeyes.adapt.supernet.statistics import knowing, looked, matched
from manyeyes.adapt.supernet.supernet import Supernet
from manyeyes.adapt.training.in_training import Said
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.adapt.training.task import Batch, DomainTask

# Paths between the full and the thinnest one that are trained in each step.
BETWEEN = 2
# Share of the epochs after which every other of these is drawn near good ones.
WIDELY = 0.5
# Paths that are remembered.
REMEMBERED = 512


class Remembered(nn.Module):
    """The paths that were trained last, and how much worse each did than the full one on the same photos.

    A module, so that a training which was stopped goes on with what it remembered.
    """

    def __init__(self, genes: int) -> None:
        super().__init__()
        self.paths: Tensor
        self.register_buffer("paths", torch.zeros(REMEMBERED, genes, dtype=torch.int64))
        self.excess: Tensor
        self.register_buffer("excess", torch.full((REMEMBERED,), float("inf")))
        self.count: Tensor
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def note(self, path: Path, excess: Tensor) -> None:
        place = int(self.count) % REMEMBERED
        self.paths[place], self.excess[place] = torch.tensor(path), excess.detach()
        self.count += 1

    def best(self, supernet: Supernet) -> list[Path]:
        """To none of which another that is remembered is better and cheaper."""
        known = range(min(int(self.count), REMEMBERED))
        paths = [tuple(row) for row in self.paths.tolist()[: len(known)]]
        costs = [supernet.cost(path).macs for path in paths]
        return [paths[index] for index in on_front(self.excess[: len(known)].tolist(), costs)]


class SupernetTask(DomainTask):
    """Train the domain of a supernet, and the heads of its exits, on all its paths.

    Nothing goes by the photos that a course holds out: they are for the search.
    """

    def __init__(self, supernet: Supernet, course: Course, recipe: Recipe) -> None:
        super().__init__(
            supernet.bank, course.name, course.photos, course.train, course.held[:0], recipe, course.objective
        )
        self.supernet = supernet
        self.remembered = Remembered(len(supernet.space.genes))
        self._random = np.random.default_rng(recipe.seed)
        self._good: list[Path] = []
        self.heads += supernet.heads.values()
        self.module.add_module("exits", supernet.heads)  # so that they go where the rest goes
        self.learnt = nn.ModuleList([self.learnt, supernet.heads, self.remembered])

    def batch(self, epoch: int, step: int) -> Batch:
        # The paths of a step, too, are the same for the same numbers.
        self._random = np.random.default_rng([self._recipe.seed, epoch, step, 1])
        is_late = epoch >= WIDELY * self._recipe.epochs
        self._good = self.remembered.best(self.supernet) if is_late else []
        return super().batch(epoch, step)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        network = self.bank.network
        with self.bank.using(self.name):
            whole, moments = looked(network, lambda: module(*batch.inputs, batch.domain))
            own, right = self.loss_of(whole, batch.labels)
            loss = own
            for path in (self.supernet.space.thinnest, *self._between()):
                with knowing(network, moments), self.supernet.on(path), matched(network):
                    said = module(*batch.inputs, batch.domain)
                with torch.no_grad():
                    theirs, _ = self.loss_of(said, batch.labels)
                loss = loss + told(whole, said)
                self.remembered.note(path, theirs - own)
        return loss, right

    def _between(self) -> list[Path]:
        space, random = self.supernet.space, self._random
        paths = [space.sample(random) for _ in range(BETWEEN)]
        for index in range(0, BETWEEN, 2) if self._good else ():
            good = self._good[int(random.integers(len(self._good)))]
            paths[index] = space.mutate(good, random, 1 / len(space.genes))
        return paths


def told(teacher: Said, pupil: Said) -> Tensor:
    """How far what one path says is from what another says, which does not learn from that."""
    wanted = softmax(teacher.logits.detach().float(), dim=1)
    return kl_div(log_softmax(pupil.logits.float(), dim=1), wanted, reduction="batchmean")
