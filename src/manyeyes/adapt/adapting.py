"""A backbone and labelled photos in, a domain of that backbone out."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState

from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.compress import new_domain_like
from manyeyes.adapt.domain_file import load_domains, read_header
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.tasks.classification import CLASSIFICATION
from manyeyes.adapt.tasks.objective import Objective
from manyeyes.adapt.training.loop import Training, train
from manyeyes.adapt.training.pixels import Photos
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.adapt.training.start import fit_head
from manyeyes.adapt.training.task import DomainTask, RoundRobin
from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import NETS
from manyeyes.backbones.nets.torch_net import TorchNet
from manyeyes.backbones.weights import ensure_weights, weights_sha256
from manyeyes.errors import AdaptError
from manyeyes.experts import Groups
from manyeyes.experts.folds import Rows, folds, knowing_all

# One photo in so many is held out to stop by.
HELD = 8


@dataclass(frozen=True)
class Course:
    """What one domain learns, and from what: photos, which of them it trains on, which say when to stop (or none)."""

    name: str
    photos: Photos
    train: Rows
    held: Rows
    objective: Objective = CLASSIFICATION


def torch_net_of(card: Card) -> TorchNet:
    """The net of a card whose backbone can be adapted. Raises AdaptError for one that is no torch network."""
    net = NETS[card.net]()
    if not isinstance(net, TorchNet):
        raise AdaptError(
            f"{card.name} is no torch network (its net is {card.net!r}): it cannot be adapted; choose another "
            "backbone, or leave it out of the zoo"
        )
    return net


def open_bank(card: Card, size: int | None = None, accept_undeclared_licence: bool = False) -> tuple[DomainBank, Card]:
    """An empty bank of the card's backbone, which looks at photos of ``size`` pixels, and the card that says so.

    Raises AdaptError for a backbone that is no torch network, and what :func:`ensure_weights` raises.
    """
    net = torch_net_of(card)
    folder = ensure_weights(card, accept_undeclared_licence)
    card = dataclasses.replace(card, preprocessing=card.preprocessing.at(size))
    return DomainBank(net.assemble(card, folder), card.preprocessing.size), card


def load_bank(path: Path, accept_undeclared_licence: bool = False) -> tuple[DomainBank, Card]:
    """The bank that a file of domains belongs to, with these in it, and the card as of :func:`open_bank`.

    Raises AdaptError when the file is none of ours or damaged, or the backbone's weights on this machine are others
    than those that the domains were trained on; and what :func:`ensure_weights` raises.
    """
    header = read_header(path)
    bank, card = open_bank(header.card, header.size, accept_undeclared_licence)
    if weights_sha256(header.card) != header.weights:
        raise AdaptError(f"{path} was trained on other weights of {card.name} than those on this machine")
    load_domains(path, bank)
    return bank.eval(), card


def split_off(
    name: str,
    photos: Photos,
    seed: int = 0,
    groups: Groups | None = None,
    rows: Rows | None = None,
    parts: int = HELD,
) -> Course:
    """A course from these rows (or all), of which about one of so many parts of each class is held out.

    No group is on both sides, and a class of a single photo is trained on. When nothing can be held out, all are
    trained on.
    """
    every = np.arange(len(photos)) if rows is None else rows
    labels, tied = photos.labels[every], None if groups is None else np.asarray(groups)[every]
    split = next(folds(labels, parts, seed, tied), None)
    if split is None:
        return Course(name, photos, every, every[:0])
    learnt, held = knowing_all(*split, labels, tied)
    return Course(name, photos, every[learnt], every[held])


def adapt(
    bank: DomainBank, courses: Sequence[Course], plan: Plan, recipe: Recipe, checkpoints: Path | None = None
) -> Training:
    """Add a domain to the bank for each course, and train them, several of them by turns.

    In a bank whose domains share something, new ones share it too, as it is, and of the plan only gates count.
    ``checkpoints`` is a folder for what a killed run goes on from. Raises AdaptError for a plan that can share nothing.
    """
    bank.to(PartialState().device)  # all photos are looked at before the first step
    shares = bank[bank.names[0]] if bank.shared_size() else None
    if shares is not None and (plan.method == "full" or plan.head == "random"):
        raise AdaptError("these domains share a factor of their adapters, and so will new ones: choose other methods")
    for course in courses:
        with torch.random.fork_rng():  # what came before in this process decides nothing
            torch.manual_seed(recipe.seed)
            if shares is None:
                bank.put_new(course.name, course.photos.classes, plan)
            else:
                gates = plan.gates(bank.dimensions)
                bank.put(course.name, new_domain_like(shares, course.photos.classes, bank.source_norms, gates))
        if plan.head == "fitted":
            fit_head(bank, course.name, course.photos, course.train, recipe.seed)
    return go_on(bank, courses, recipe, checkpoints, plan.to_dict())


def go_on(
    bank: DomainBank, courses: Sequence[Course], recipe: Recipe, checkpoints: Path | None = None, identity: Any = None
) -> Training:
    """Train domains that are in the bank. ``identity``, as JSON, tells this training from others of the folder."""
    tasks = [DomainTask(bank, one.name, one.photos, one.train, one.held, recipe, one.objective) for one in courses]
    task = tasks[0] if len(tasks) == 1 else RoundRobin(tasks)
    path = checkpoints and checkpoints / f"{fingerprint(bank, courses, recipe, identity)}.safetensors"
    return train(task, recipe, path, " and ".join(one.name for one in courses[:3]) + " …" * (len(courses) > 3))


def fingerprint(bank: DomainBank, courses: Sequence[Course], recipe: Recipe, identity: Any) -> str:
    """Sixteen hex digits that change with whatever changes a training."""
    what = [(one.name, one.objective.to_dict()) for one in courses]
    digest = hashlib.sha256(json.dumps([recipe.to_dict(), identity, what]).encode())
    for course in courses:
        for array in (course.photos.pixels, course.photos.labels, course.train, course.held):
            digest.update(np.ascontiguousarray(array).data)
    others = [bank[name] for name in bank.names if name not in {one.name for one in courses}]
    with bank.using(None):
        for module in (bank.network, *others):
            for tensor in module.state_dict().values():
                digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]
