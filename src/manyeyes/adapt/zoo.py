"""The backbones of a zoo adapted to one set of photos: each folded, with a card of its own, for all that takes cards.

Features of the photos that adapters learnt from flatter: the classes lie further apart there than on new photos. So the
photos are parted. Adapters learn from some; experts from all, which is better than from the rest alone; and whom to
trust, and how much, the rest says.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from manyeyes.adapt.adapters import SERIES_STAYS
from manyeyes.adapt.adapting import HELD, Course, adapt, open_bank, split_off, torch_net_of
from manyeyes.adapt.fold import CARD, write_folded
from manyeyes.adapt.gated_transfer import plan_of, recipe_for
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.supernet.finding import HELD as FOR_SEARCH
from manyeyes.adapt.supernet.finding import Budget, Finding, check_budget, find_smaller
from manyeyes.adapt.supernet.search import check_search
from manyeyes.adapt.training.pixels import Opened, open_photos
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.adapt.training.start import SURENESS
from manyeyes.backbones.card import Card
from manyeyes.backbones.weights import ensure_weights, weights_sha256
from manyeyes.errors import AdaptError, ChoiceError, PhotoSourceError
from manyeyes.experts import Groups
from manyeyes.experts.folds import Rows, folds, knowing_all
from manyeyes.home import cache_home
from manyeyes.images import check_rejected, together
from manyeyes.version import __version__

CHANGED = "photos were changed while they were looked at: start again"

# The rest is one of so many parts of the photos.
PARTS = 2
# The budget of a smaller network where none is named.
HALF = "0.5x"
# Few photos are passed over so often that there are so many steps.
LEAST_STEPS = 60


@dataclass(frozen=True)
class Adapting:
    """How the backbones of a zoo are adapted.

    method : see :func:`manyeyes.adapt.gated_transfer.plan_of`; what series adapters do cannot be folded. Or
    ``supernet``, a network inside the backbone that takes half of its MACs, or is within another budget, as in
    ``supernet:0.3x``. size : side of the photos in pixels, in training and ever after; None for each backbone's own.
    epochs : passes over the photos at most, or as many as make 60 steps if that is more. flip : whether half of the
    photos are mirrored in training. seed : of everything that is drawn.
    """

    method: str = "parallel"
    size: int | None = None
    epochs: int = 10
    flip: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.plan.method == "series":
            raise ChoiceError(SERIES_STAYS)
        if self.finding is not None:
            check_search()
        if self.epochs < 1 or (self.size is not None and self.size < 1):
            raise ChoiceError("adapting wants epochs of 1 or more, and a size in pixels above 0")

    @property
    def plan(self) -> Plan:
        return plan_of("full" if self._budget else self.method)

    @property
    def finding(self) -> Finding | None:
        """How smaller networks are found; None where the backbones keep their size."""
        return Finding(Budget.read(self._budget), self.plan, seed=self.seed) if self._budget else None

    @property
    def _budget(self) -> str:
        name, _, budget = self.method.partition(":")
        return (budget or HALF) if name == "supernet" else ""

    def recipe(self, photos: int) -> Recipe:
        """For so many photos to train on."""
        recipe = Recipe(epochs=self.epochs, flip=self.flip, seed=self.seed).with_steps(LEAST_STEPS, photos)
        recipe = recipe_for(self.plan, recipe)
        return dataclasses.replace(recipe, patience=max(recipe.patience, recipe.epochs // 3))


@dataclass(frozen=True)
class AdaptedZoo:
    """cards : of the adapted backbones. learnt : sha256 of the photos that they were adapted to."""

    cards: tuple[Card, ...]
    learnt: tuple[str, ...]


def check_adaptable(cards: Sequence[Card]) -> None:
    """Raise AdaptError for a backbone that is no torch network."""
    for card in cards:
        torch_net_of(card)


def adapt_zoo(
    cards: Sequence[Card],
    paths: Sequence[str],
    y: npt.NDArray[Any],
    groups: Groups | None,
    adapting: Adapting,
    max_rejected: float = 1.0,
    accept_undeclared_licence: bool = False,
) -> AdaptedZoo:
    """Adapt each backbone to a part of the photos at ``paths`` with the labels ``y`` (n,).

    What is made is kept in the user's cache: the same photos, labels and choices give it again, and a run that was
    stopped goes on. Raises AdaptError for a backbone that cannot be adapted, or photos that change meanwhile,
    PhotoSourceError, TooManyRejectedError, and what :func:`manyeyes.backbones.weights.ensure_weights` raises.
    """
    check_adaptable(cards)
    for card in cards:
        ensure_weights(card, accept_undeclared_licence)
        if adapting.finding is not None:
            _check_budget(card, adapting)
    made = []
    for card, opened in zip(cards, open_for(cards, paths, y, adapting.size, max_rejected), strict=True):
        good = np.flatnonzero(opened.is_good)
        tied = together(opened.sha256, None if groups is None else np.asarray(groups)[good])
        learnt = part(opened.photos.labels, adapting.seed, tied)  # the same for each of them
        parts = HELD if adapting.finding is None else FOR_SEARCH
        course = split_off(f"{card.name}-adapted", opened.photos, adapting.seed, tied, learnt, parts)
        made.append(_adapted(card, course, adapting, place_of([card], opened, course, adapting)))
    return AdaptedZoo(tuple(made), tuple(opened.sha256[row] for row in learnt))


def part(labels: Rows, seed: int, groups: Groups | None = None) -> Rows:
    """Rows for adapters to learn from. Of each class there are others; no group is on both sides.

    Raises AdaptError when no two classes have photos for both.
    """
    learnt, rest = next(folds(labels, PARTS, seed, groups), (labels[:0], np.arange(len(labels))))
    # An expert cannot know a class of which it has seen nothing.
    _, learnt = knowing_all(rest, learnt, labels, groups)
    if len(np.unique(labels[learnt])) < 2:
        raise AdaptError("there are too few photos to adapt a backbone: two classes with two photos each are wanted")
    return learnt


def open_for(
    cards: Sequence[Card],
    paths: Sequence[str],
    y: npt.NDArray[Any],
    size: int | None,
    max_rejected: float = 1.0,
    thumbnails: bool = False,
) -> Iterator[Opened]:
    """The photos as each backbone is trained on them, their classes numbered in the order of the sorted labels.

    Raises AdaptError when others can be read for one than for another, PhotoSourceError when there are fewer than two
    classes to be read, TooManyRejectedError.
    """
    words = [f"{number:09}" for number in np.unique(y, return_inverse=True)[1]]
    first: tuple[str, ...] | None = None
    for card in cards:
        opened = open_photos(paths, words, card.preprocessing.at(size), thumbnails)
        check_rejected(opened.rejected, len(paths), max_rejected)
        if len(np.unique(opened.photos.labels)) < 2:
            raise PhotoSourceError("photos of at least two classes are wanted to learn from, and fewer can be read")
        if first not in (None, opened.sha256):
            raise AdaptError(CHANGED)
        first = opened.sha256
        yield opened


def place_of(cards: Sequence[Card], opened: Opened, course: Course, adapting: Adapting, more: Any = None) -> Path:
    """The folder in the user's cache for what comes of these photos and choices, ``more`` of them as JSON."""
    rows = [opened.photos.labels.tolist(), course.train.tolist(), course.held.tolist()]
    recipe = adapting.recipe(len(course.train))
    how = [dataclasses.asdict(adapting), adapting.plan.to_dict(), recipe.to_dict(), SURENESS]
    made_of = [[card.to_dict() for card in cards], [weights_sha256(card) for card in cards], opened.sha256, rows, how]
    digest = hashlib.sha256(json.dumps([made_of, more, __version__]).encode())
    return cache_home() / "adapted" / digest.hexdigest()[:16]


@contextmanager
def alone_at(place: Path) -> Iterator[None]:
    """Of several processes that want to make the same, one does, and the others find it made."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_name(f".{place.name}.lock")):
        yield


def _check_budget(card: Card, adapting: Adapting) -> None:
    assert adapting.finding is not None
    try:
        check_budget(open_bank(card, adapting.size, accept_undeclared_licence=True)[0], adapting.finding.budget)
    except AdaptError as error:
        raise AdaptError(f"{card.name}: {error}") from None


def _adapted(card: Card, course: Course, adapting: Adapting, place: Path) -> Card:
    folder = place / course.name
    with alone_at(place):
        if (folder / CARD).is_file():
            return Card.from_file(folder / CARD)
        bank, sized = open_bank(card, adapting.size, accept_undeclared_licence=True)  # it has been, or need not be
        recipe = adapting.recipe(len(course.train))
        checkpoints = cache_home() / "training"
        if adapting.finding is None:
            training = adapt(bank, [course], adapting.plan, recipe, checkpoints)
        else:
            found = find_smaller(bank, sized, course, adapting.finding, recipe, checkpoints)
            bank, sized, training = found.bank, found.card, found.training
        made = write_folded(bank, course.name, sized, folder)
        if training.checkpoint is not None:
            training.checkpoint.unlink(missing_ok=True)
        return made
