"""What the loop trains: a task says what a step's batch is, what it costs, and how good the network is by now."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.tasks.classification import CLASSIFICATION, labelled_cross_entropy
from manyeyes.adapt.tasks.objective import UNLABELLED, Metrics, Objective, Score
from manyeyes.adapt.training.in_training import AuxiliaryHead, InTraining, Said
from manyeyes.adapt.training.pixels import Photos
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.experts.folds import Rows

# Photos that are judged in one go.
JUDGED = 128
# Roles that the backbone consists of: what is trained of them begins as the backbone itself.
BACKBONE = ("adapters", "norms", "body")


@dataclass(frozen=True)
class Batch:
    """inputs : what the module is called with, B rows each. labels : (B,). domain : of several, whose photos."""

    inputs: tuple[Tensor, ...]
    labels: Tensor
    domain: str = ""

    def share(self, number: int, count: int) -> "Batch":
        """What the process of this number trains on, of so many."""
        # As they come: an objective may want some of them together.
        return self._each(lambda rows: rows.tensor_split(count)[number])

    def to(self, device: torch.device) -> "Batch":
        return self._each(lambda rows: rows.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return Batch(tuple(map(change, self.inputs)), change(self.labels), self.domain)


class Task(Protocol):
    """module : what is called and trained. learnt : the part of it whose state is kept, which the loop writes to
    checkpoints and takes back to its best."""

    module: nn.Module
    learnt: nn.Module

    @property
    def steps(self) -> int:
        """Of an epoch."""
        ...

    def groups(self) -> list[dict[str, Any]]:
        """The optimiser's groups of parameters: ``params``, ``weight_decay``, ``share_of_rate``, and ``from_epoch``,
        before which their rate is zero."""
        ...

    def begin(self, epoch: int) -> None:
        """Called before the first step of an epoch, and before that with which a run goes on."""
        ...

    def batch(self, epoch: int, step: int) -> Batch:
        """The same for the same numbers, so that a run which was stopped goes on as if it had not been."""
        ...

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss to go down on, and how many of the labelled photos were right."""
        ...

    def judge(self) -> Score | None:
        """By photos that are not trained on; None when there are none."""
        ...

    def words(self, metrics: Metrics) -> str:
        """What judges found, for people."""
        ...


class DomainTask:
    """Train one domain of a bank on its photos; ``held`` are rows that are judged by, and labelled ones of them are not
    trained on."""

    def __init__(
        self,
        bank: DomainBank,
        name: str,
        photos: Photos,
        train: Rows,
        held: Rows,
        recipe: Recipe,
        objective: Objective = CLASSIFICATION,
    ) -> None:
        self.bank, self.name, self.photos, self.train, self.held = bank, name, photos, train, held
        self.domain, self.objective, self._recipe = bank[name], objective, recipe
        roles = self.domain.role_parameters()
        self._backbone = [one for role in BACKBONE for one in roles[role] if one.requires_grad]
        self._epoch, self._parts = -1, list[Rows]()
        self.domain.dropout = recipe.dropout
        self.auxiliaries: dict[str, AuxiliaryHead] = {}
        if recipe.auxiliary:
            with torch.random.fork_rng():
                torch.manual_seed(recipe.seed)
                self.auxiliaries[name] = AuxiliaryHead.of(bank, len(photos.classes))
        # Heads beside the domain's own that are trained as that is.
        self.heads: list[nn.Module] = list(self.auxiliaries.values())
        self.weighs = recipe.sparsity > 0
        self.module: nn.Module = InTraining(bank, self.auxiliaries, self.weighs)
        self.learnt: nn.Module = nn.ModuleList([self.domain, *self.auxiliaries.values()])

    @property
    def steps(self) -> int:
        return -(-len(self.train) // self._recipe.batch)

    def groups(self) -> list[dict[str, Any]]:
        labels = self.photos.labels[self.train]
        labels = labels[labels != UNLABELLED]
        decays = self._recipe.decays(max(len(labels), 1) / max(len(np.unique(labels)), 1))
        roles = self.domain.role_parameters()
        roles["head"] += [one for head in self.heads for one in head.parameters()]
        rates = self._recipe.rates()
        return [
            {
                "params": wanted,
                "weight_decay": decays[role],
                "share_of_rate": rates[role],
                "from_epoch": self._recipe.frozen if role in BACKBONE else 0,
            }
            for role, ones in roles.items()
            if (wanted := [one for one in ones if one.requires_grad])
        ]

    def begin(self, epoch: int) -> None:
        if not self._recipe.frozen or self._recipe.drifts:
            return
        self.domain.is_frozen = epoch < self._recipe.frozen
        self.domain.train(self.domain.training)
        for one in self._backbone:
            one.requires_grad_(not self.domain.is_frozen)

    def batch(self, epoch: int, step: int) -> Batch:
        rows = self.rows(epoch, step)
        random = np.random.default_rng([self._recipe.seed, epoch, step])
        framed = self.photos.cuttings(rows, random, self._recipe.flip, self._recipe.cut)
        return Batch((framed,), torch.from_numpy(self.photos.labels[rows]), self.name)

    def rows(self, epoch: int, step: int) -> Rows:
        """What is trained on in a step; those of an epoch are found once, because there may be many."""
        if epoch != self._epoch:
            random = np.random.default_rng([self._recipe.seed, epoch])
            order = self.objective.order(self.photos.labels[self.train], random)
            # Of the same size, to within one: norms of a batch want more than the few photos that may be left over.
            self._epoch, self._parts = epoch, np.array_split(self.train[order], self.steps)
        return self._parts[step]

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.loss_of(module(*batch.inputs, batch.domain), batch.labels)

    def loss_of(self, said: Said, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of what was said of some photos, and how many of the labelled ones were right."""
        right = (said.logits.argmax(dim=1) == labels).sum()
        smoothing = self._recipe.smoothing
        loss = self.objective.loss(said, labels, smoothing)
        if said.auxiliary is not None:
            by_auxiliary = labelled_cross_entropy(said.auxiliary, labels, smoothing)
            loss = loss + self._recipe.auxiliary * by_auxiliary
        if said.weights is not None:
            loss = loss + self._recipe.sparsity * said.weights
        return loss, right

    def judge(self) -> Score | None:
        return score(self.bank, self.name, self.photos, self.held, self.objective) if len(self.held) else None

    def words(self, metrics: Metrics) -> str:
        return self.objective.words(metrics)


class RoundRobin:
    """Train several domains of a bank, a batch of each in turn, while they have any left in this epoch.

    Domains that share nothing come out as if each had been trained by itself, but for when the rate falls.
    """

    def __init__(self, tasks: Sequence[DomainTask]) -> None:
        auxiliaries = {name: head for task in tasks for name, head in task.auxiliaries.items()}
        self.module: nn.Module = InTraining(tasks[0].bank, auxiliaries, any(task.weighs for task in tasks))
        self.learnt: nn.Module = nn.ModuleList(task.learnt for task in tasks)
        self._tasks = {task.name: task for task in tasks}
        longest = max(task.steps for task in tasks)
        self._turns = [(task, step) for step in range(longest) for task in tasks if step < task.steps]

    @property
    def steps(self) -> int:
        return len(self._turns)

    def groups(self) -> list[dict[str, Any]]:
        known: set[int] = set()
        groups = []
        for group in (group for task in self._tasks.values() for group in task.groups()):
            own = [one for one in group["params"] if id(one) not in known]  # what is shared is trained once
            known |= {id(one) for one in own}
            groups.append(group | {"params": own})
        return groups

    def begin(self, epoch: int) -> None:
        for task in self._tasks.values():
            task.begin(epoch)

    def batch(self, epoch: int, step: int) -> Batch:
        task, own_step = self._turns[step]
        return task.batch(epoch, own_step)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        return self._tasks[batch.domain].loss(module, batch)

    def judge(self) -> Score | None:
        """The mean over those domains that have photos to judge by; of metrics, where all have the same."""
        scores = [found for task in self._tasks.values() if (found := task.judge()) is not None]
        if not scores:
            return None
        loss, names = float(np.mean([one.loss for one in scores])), [*scores[0].metrics]
        if any([*one.metrics] != names for one in scores):
            return Score(loss, {})
        return Score(loss, {name: float(np.mean([one.metrics[name] for one in scores])) for name in names})

    def words(self, metrics: Metrics) -> str:
        return next(iter(self._tasks.values())).words(metrics)


@torch.inference_mode()
def log_probabilities(bank: DomainBank, name: str, photos: Photos, rows: Rows) -> Tensor:
    """What a domain says of the middles of some photos: (B, C)."""
    return torch.log_softmax(_looked(bank, name, photos, rows, bank), dim=1)


@torch.inference_mode()
def features(bank: DomainBank, name: str | None, photos: Photos, rows: Rows) -> Tensor:
    """Features of the middles of some photos, (B, D), by a domain, or by the backbone alone."""
    return _looked(bank, name, photos, rows, bank.features)


@torch.inference_mode()
def feature_weights(bank: DomainBank, name: str, photos: Photos, rows: Rows) -> Tensor:
    """What a domain's gate weighs the features of the middles of some photos by: (B, D)."""
    return _looked(bank, name, photos, rows, bank.feature_weights)


@torch.inference_mode()
def score(bank: DomainBank, name: str, photos: Photos, rows: Rows, objective: Objective = CLASSIFICATION) -> Score:
    """How good a domain is on some photos."""

    def look(framed: Tensor) -> Tensor:
        features = bank.features(framed)
        return torch.cat([features, bank[name].logits(features)], dim=1)

    seen = _looked(bank, name, photos, rows, look)
    features, logits = seen.tensor_split([-len(bank[name].classes)], dim=1)
    return objective.score(features, logits, torch.from_numpy(photos.labels[rows]))


def _looked(bank: DomainBank, name: str | None, photos: Photos, rows: Rows, look: Callable[[Tensor], Tensor]) -> Tensor:
    was_training, device = bank.training, bank.device
    with bank.using(name):
        bank.eval()
        parts = np.array_split(rows, -(-len(rows) // JUDGED))
        seen = torch.cat([look(photos.centres(part).to(device)).float().cpu() for part in parts])
    bank.train(was_training)
    return seen
