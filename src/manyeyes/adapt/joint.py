"""Adapters of several backbones, a head on each and the gate between them, trained at once by the log loss of the
mixture: what "All Together Now!" leaves for future work.

``f(x) = Σ_k a_k(x) softmax(U_k φ_k(x; θ_k) + b_k)`` (eqs. 3–4), where θ_k are the adapters and norms of backbone k.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.nn.functional import nll_loss

from manyeyes.adapt.adapting import open_bank, split_off
from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.fold import write_folded
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.tasks.classification import CLASSIFICATION
from manyeyes.adapt.tasks.objective import Metrics, Score
from manyeyes.adapt.training.loop import train
from manyeyes.adapt.training.pixels import Opened, Photos
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.adapt.training.start import fit_head_to
from manyeyes.adapt.training.task import JUDGED, Batch, DomainTask, features
from manyeyes.adapt.zoo import CHANGED, Adapting, alone_at, check_adaptable, open_for, place_of
from manyeyes.backbones.card import Card
from manyeyes.errors import AdaptError, ChoiceError
from manyeyes.experts import ClassWeight, Groups
from manyeyes.experts.folds import Rows
from manyeyes.experts.lesson import Lesson
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.experts.weights import class_weights
from manyeyes.features.extract import Extraction
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.joint import GATE_RATE
from manyeyes.fusion.mixture import MixtureOfExperts
from manyeyes.gates import GATES
from manyeyes.gates.gate import Gate
from manyeyes.images import together

# What backbones of these cards see of the photos at these paths.
Look = Callable[[Sequence[Card], Sequence[str]], Extraction]

DOMAIN = "photos"


@dataclass(frozen=True)
class Jointly:
    """cards : of the adapted backbones. seen : what these see of the photos. held : rows of ``seen`` that training was
    stopped by. accuracy : on these; None where nothing could be held out."""

    cards: tuple[Card, ...]
    seen: Extraction
    held: Rows
    accuracy: float | None


class JointMixture(nn.Module):
    """Photos framed for each of K banks, (B, S, S, 3) uint8, and what the gate sees of them, (B, …) → log f, (B, C).

    A gate that sees features sees those of the adapted backbones; what it is given in their place is not looked at.
    """

    def __init__(self, banks: Sequence[DomainBank], gate: Gate) -> None:
        super().__init__()
        self._banks, self.gate = nn.ModuleList(banks), gate
        self.register_buffer("_columns", torch.arange(sum(bank.dimension for bank in banks)), persistent=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        *framed, seen = inputs
        banks = [bank for bank in self._banks if isinstance(bank, DomainBank)]
        features = [bank.features(photos) for bank, photos in zip(banks, framed, strict=True)]
        logits = [bank[DOMAIN].logits(one) for bank, one in zip(banks, features, strict=True)]
        columns = self.get_buffer("_columns")
        log_weights = self.gate(self.gate.with_columns(seen, columns, torch.cat(features, dim=1)))
        log_proba = torch.log_softmax(torch.stack(logits, dim=1), dim=2)
        return torch.logsumexp(log_weights[:, :, None] + log_proba, dim=1)


class JointTask:
    """Train one domain of each bank and the gate; ``held`` are rows that are judged by and not trained on.

    photos : the same ones for each bank. seen : what the gate sees of them, n rows. weights : of each class in the
    loss, (C,).
    """

    def __init__(
        self,
        banks: Sequence[DomainBank],
        photos: Sequence[Photos],
        gate: Gate,
        seen: Tensor,
        weights: Tensor,
        rows: tuple[Rows, Rows],
        recipe: Recipe,
    ) -> None:
        self.module: nn.Module = JointMixture(banks, gate)
        self.learnt: nn.Module = nn.ModuleList([*(bank[DOMAIN] for bank in banks), gate])
        self.gate = gate
        self._photos, self._seen, self._weights, self._recipe = photos, seen, weights, recipe
        self.train, self.held = rows
        self._alone = [DomainTask(bank, DOMAIN, own, *rows, recipe) for bank, own in zip(banks, photos, strict=True)]

    @property
    def steps(self) -> int:
        return self._alone[0].steps

    def groups(self) -> list[dict[str, Any]]:
        groups = [group for task in self._alone for group in task.groups()]
        if self.gate.trainable:
            share = GATE_RATE * self.gate.learning_rate / self._recipe.rate
            groups.append(
                {"params": [*self.gate.parameters()], "weight_decay": 0.0, "share_of_rate": share, "from_epoch": 0}
            )
        return groups

    def begin(self, epoch: int) -> None:
        for task in self._alone:
            task.begin(epoch)

    def batch(self, epoch: int, step: int) -> Batch:
        rows = self._alone[0].rows(epoch, step)
        seed, how = [self._recipe.seed, epoch, step], (self._recipe.flip, self._recipe.cut)
        framed = [photos.cuttings(rows, np.random.default_rng(seed), *how) for photos in self._photos]
        return Batch((*framed, self._seen[rows]), self._labels(rows))

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        log_proba = module(*batch.inputs)
        return self._loss(log_proba, batch.labels), (log_proba.argmax(dim=1) == batch.labels).sum()

    @torch.inference_mode()
    def judge(self) -> Score | None:
        if not len(self.held):
            return None
        was_training, device = self.module.training, next(self.module.parameters()).device
        self.module.eval()
        said = [
            self.module(*(one.to(device) for one in (*(own.centres(rows) for own in self._photos), self._seen[rows])))
            for rows in np.array_split(self.held, -(-len(self.held) // JUDGED))
        ]
        self.module.train(was_training)
        log_proba, labels = torch.cat(said).cpu(), self._labels(self.held)
        right = (log_proba.argmax(dim=1) == labels).double().mean()
        return Score(float(self._loss(log_proba, labels)), {"accuracy": float(right)})

    def words(self, metrics: Metrics) -> str:
        return CLASSIFICATION.words(metrics)

    def _loss(self, log_proba: Tensor, labels: Tensor) -> Tensor:
        return nll_loss(log_proba, labels, self._weights.to(log_proba.device))

    def _labels(self, rows: Rows) -> Tensor:
        return torch.from_numpy(self._photos[0].labels[rows])


def adapt_jointly(
    cards: Sequence[Card],
    paths: Sequence[str],
    y: npt.NDArray[Any],
    groups: Groups | None,
    adapting: Adapting,
    mixture: MixtureOfExperts,
    look: Look,
    max_rejected: float = 1.0,
    accept_undeclared_licence: bool = False,
) -> Jointly:
    """Adapt each backbone to the photos at ``paths`` with the labels ``y`` (n,), together with the gate of ``mixture``,
    which is fitted by that.

    An eighth of the photos is held out to stop by, and to calibrate by in the end. Heads begin as softmax regressions
    on what the backbones see as they came, and the gate weighs them alike. A run that was stopped goes on; the same
    photos and choices are not trained on twice. Raises what :func:`manyeyes.adapt.zoo.adapt_zoo` raises.
    """
    check_adaptable(cards)
    if adapting.finding is not None:
        raise ChoiceError("smaller networks are found before experts and gate are trained, not together with them")
    banks, sized = zip(*(open_bank(card, adapting.size, accept_undeclared_licence) for card in cards), strict=True)
    framings = [card.preprocessing.framing for card in sized]
    distinct = dict(zip(framings, sized, strict=True))  # backbones with the same framing share their photos
    found = open_for(list(distinct.values()), paths, y, adapting.size, max_rejected, thumbnails=True)
    by_framing = dict(zip(distinct, found, strict=True))
    opened = [by_framing[framing] for framing in framings]
    good = np.flatnonzero(opened[0].is_good)
    tied = together(opened[0].sha256, None if groups is None else np.asarray(groups)[good])
    course = split_off(DOMAIN, opened[0].photos, adapting.seed, tied)
    recipe = adapting.recipe(len(course.train))
    weights = _weights(mixture.class_weight, y[good], opened[0].photos)
    choices = [mixture.gate, str(mixture.class_weight), GATE_RATE]
    place = place_of(cards, opened[0], course, adapting, choices)
    with alone_at(place):
        task = _begin(banks, opened, GATES[mixture.gate], weights, (course.train, course.held), adapting.plan, recipe)
        training = train(task, recipe, place / "training.safetensors", "adapters and gate")
        made = [_folded(bank, card, place / f"{card.name}-adapted") for bank, card in zip(banks, sized, strict=True)]
    seen = look(made, paths)
    if seen.photos != opened[0].sha256:
        raise AdaptError(CHANGED)
    lesson = Lesson(seen.table, y[good], tied, mixture.class_weight, mixture.random_state)
    present = np.unique(opened[0].photos.labels)
    experts = [_expert(bank[DOMAIN].head, present, lesson) for bank in banks]
    mixture.seat(lesson, experts, task.gate.cpu(), course.held, training.best)
    return Jointly(tuple(made), seen, course.held, training.held.accuracy if training.held else None)


def _begin(
    banks: Sequence[DomainBank],
    opened: Sequence[Opened],
    kind: type[Gate],
    weights: Tensor,
    rows: tuple[Rows, Rows],
    plan: Plan,
    recipe: Recipe,
) -> JointTask:
    """Give each bank a domain whose head is the best for what its backbone sees, and all of them a gate."""
    photos = [one.photos for one in opened]
    every = np.arange(len(photos[0]))
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        for bank, own in zip(banks, photos, strict=True):
            bank.to(PartialState().device)  # all photos are looked at before the first step
            bank.put_new(DOMAIN, own.classes, plan)
        blocks = {
            str(k): features(bank, None, own, every).numpy()
            for k, (bank, own) in enumerate(zip(banks, photos, strict=True))
        }
        table = FeatureTable(blocks, opened[0].thumbnails)
        gate = kind.for_table(table[rows[0]])
    for bank, own, block in zip(banks, photos, blocks.values(), strict=True):
        fit_head_to(bank, DOMAIN, block[rows[0]], own.labels[rows[0]], recipe.seed)
        bank.switch(DOMAIN)
    return JointTask(banks, photos, gate, gate.look(table), weights, rows, recipe)


def _weights(class_weight: ClassWeight, y: npt.NDArray[Any], photos: Photos) -> Tensor:
    """Of each class of the photos, whose labels are ``y``: (C,). Classes of which none could be read have 1."""
    classes, labels = np.unique(y, return_inverse=True)
    weights = torch.ones(len(photos.classes))
    weights[photos.labels] = torch.from_numpy(class_weights(class_weight, classes, labels)).float()
    return weights


def _folded(bank: DomainBank, card: Card, folder: Path) -> Card:
    """The card of what a bank's domain has become, in the place of what an earlier run may have made."""
    shutil.rmtree(folder, ignore_errors=True)
    return write_folded(bank, DOMAIN, card, folder)


def _expert(head: nn.Linear, present: Rows, lesson: Lesson) -> SoftmaxRegression:
    """A head as an expert, which knows those classes of which photos could be read."""
    expert = SoftmaxRegression(class_weight=lesson.class_weight, random_state=lesson.random_state)
    weight, bias = (tensor.detach().cpu().double().numpy()[present] for tensor in (head.weight, head.bias))
    return expert.seat(weight, bias, lesson.classes)
