"""What ``manyeyes adapt`` reads: of each source of photos a course, and what the domain is judged by in the end."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from manyeyes.progress import console

if TYPE_CHECKING:
    from manyeyes.adapt.adapting import Course
    from manyeyes.adapt.bank import DomainBank
    from manyeyes.adapt.tasks.objective import Metrics
    from manyeyes.adapt.training.pixels import Photos
    from manyeyes.backbones.card import Card
    from manyeyes.experts.folds import Rows
    from manyeyes.images import PhotoSet, Rejected

SHOWN = 10


@dataclass(frozen=True)
class Reading:
    """How sources are read. task : its name. unlabelled : where photos without labels are. parts : of so many, one is
    held out, when there is no split ``val``. seed : of which that is. max_rejected : share of files at most that cannot
    be read."""

    task: str
    unlabelled: str | None
    parts: int
    seed: int
    max_rejected: float


@dataclass(frozen=True)
class ReadCourse:
    """A course, the path of each of its photos, and what judges its domain in the end by the course's photos, where
    there are some for it: ``judged_by`` says which."""

    course: "Course"
    paths: tuple[str, ...]
    judge: "Callable[[DomainBank, Photos], Metrics] | None" = None
    judged_by: str = ""


def read_courses(sources: list[str], card: "Card", taken: set[str], how: Reading) -> list[ReadCourse]:
    """What each domain learns from; ``taken`` are names that other domains have."""
    from manyeyes.errors import ChoiceError

    read: list[ReadCourse] = []
    for source in sources:
        place = Path(source)
        name = (place.name if place.is_dir() else place.stem) or place.resolve().name
        if name in taken | {one.course.name for one in read}:
            raise ChoiceError(f"two domains would be called {name!r}: rename a folder")
        read.append(_read(name, source, card, how))
    return read


def read_source(source: str, card: "Card", labelled: bool, how: Reading) -> "Course":
    """All photos of a source, on which nothing is held out: with its classes, or of any folder without."""
    import numpy as np

    from manyeyes.adapt.adapting import Course
    from manyeyes.adapt.training.pixels import open_photos
    from manyeyes.errors import PhotoSourceError
    from manyeyes.images import check_rejected, list_photos

    if labelled:
        course = read_courses([source], card, set(), how)[0].course
        name, photos, every = course.name, course.photos, np.union1d(course.train, course.held)
    else:
        paths = list_photos([source])
        opened = open_photos(paths, [None] * len(paths), card.preprocessing)
        check_rejected(opened.rejected, len(paths), how.max_rejected)
        say_rejected(opened.rejected)
        name, every = Path(source).name, np.arange(len(opened.photos))
        photos = dataclasses.replace(opened.photos, classes=("",))
        if not len(every):
            raise PhotoSourceError(f"no photo in {source} can be read: --source wants some to learn from")
        console.print(f"{name}: {len(every):,} photos to see as the backbone does", soft_wrap=True)
    return Course(f"{name} (source)", photos, every, every[:0])


def say_rejected(rejected: "Sequence[Rejected]") -> None:
    for one in rejected[:SHOWN]:
        console.print(f"  left out: {one}", soft_wrap=True)
    if len(rejected) > SHOWN:
        console.print(f"  … and {len(rejected) - SHOWN} more")


def _read(name: str, source: str, card: "Card", how: Reading) -> ReadCourse:
    import numpy as np

    from manyeyes.adapt.adapting import Course
    from manyeyes.adapt.tasks import objective_for
    from manyeyes.adapt.tasks.labels import JUNK, read_labelled
    from manyeyes.adapt.tasks.unlabelled import DomainAdaptation
    from manyeyes.adapt.training.pixels import open_photos
    from manyeyes.adapt.training.task import score
    from manyeyes.errors import PhotoSourceError
    from manyeyes.images import check_rejected, list_photos

    found = read_labelled(how.task, source)
    for note in found.notes:
        console.print(f"  note: {note}", soft_wrap=True)
    found.require_classes(2)
    asks_gallery = found.cameras is not None  # as Market-1501 does
    if asks_gallery:
        found = found.select([label != JUNK for label in found.labels])
    # Identities of query and gallery are no classes of the head.
    labels = [
        None if asks_gallery and split != "train" else label
        for label, split in zip(found.labels, found.splits or found.labels, strict=True)
    ]
    place = [] if how.unlabelled is None else list_photos([how.unlabelled])
    if how.unlabelled is not None and not place:
        raise PhotoSourceError(f"no photos in {how.unlabelled}: --unlabelled wants some of the place of use")
    opened = open_photos([*found.paths, *place], [*labels, *[None] * len(place)], card.preprocessing)
    bad = len(found) - int(opened.is_good[: len(found)].sum())
    check_rejected(opened.rejected[:bad], len(found), how.max_rejected)
    check_rejected(opened.rejected[bad:], len(place), how.max_rejected)
    say_rejected(opened.rejected)
    good = found.select(opened.is_good[: len(found)])
    (good if good.splits is None else good.split("train")).require_classes(2)
    photos = opened.photos
    objective = objective_for(how.task, photos.classes)
    learnt, held = _split(good, photos, opened.sha256[: len(good)], how)
    target = np.arange(len(good), len(photos))
    if how.unlabelled is not None:
        if not len(target):
            raise PhotoSourceError(
                f"no photo in {how.unlabelled} can be read: --unlabelled wants some of the place of use"
            )
        objective = DomainAdaptation()
    course = Course(name, photos, np.append(learnt, target), np.append(held, target), objective)
    test, judge, judged_by = _rows(good.splits, "test"), None, "the split test"
    if good.cameras is not None:
        test = np.append(_rows(good.splits, "query"), _rows(good.splits, "gallery"))
        judge, judged_by = _gallery_judge(name, good, good.cameras), "query against gallery"
    elif len(test):

        def judge(bank: "DomainBank", photos: "Photos") -> "Metrics":
            return score(bank, name, photos, test, objective).metrics

    words = f"{name}: {len(photos.classes)} classes, {len(learnt):,} photos to train on, "
    words += f"{len(held):,} to stop by, {len(test):,} to judge by in the end"
    if len(target):
        words += f", {len(target):,} unlabelled to train on and to stop by"
    console.print(words, soft_wrap=True)
    return ReadCourse(course, good.paths, judge, judged_by)


def _split(good: "PhotoSet", photos: "Photos", sha256: tuple[str, ...], how: Reading) -> "tuple[Rows, Rows]":
    """The rows of labelled photos to train on, and those to stop by."""
    import numpy as np

    from manyeyes.adapt.adapting import split_off
    from manyeyes.adapt.tasks.reidentification import held_identities
    from manyeyes.images import together

    rows = np.arange(len(good)) if good.splits is None else _rows(good.splits, "train")
    if len(val := _rows(good.splits, "val")):
        return rows, val
    if how.task == "re-identification":
        learnt, held = held_identities(photos.labels[rows], how.seed, how.parts)
        return rows[learnt], rows[held]
    course = split_off("", photos, how.seed, together(sha256, good.groups), rows, how.parts)
    return course.train, course.held


def _gallery_judge(name: str, good: "PhotoSet", cameras: tuple[str, ...]) -> "Callable[[DomainBank, Photos], Metrics]":
    import numpy as np

    from manyeyes.adapt.tasks.retrieval import Shots, retrieval
    from manyeyes.adapt.training.task import features

    by, of = (np.unique(names, return_inverse=True)[1] for names in (cameras, good.labels))

    def judge(bank: "DomainBank", photos: "Photos") -> "Metrics":
        asked, gallery = (
            Shots(features(bank, name, photos, rows), of[rows], by[rows])
            for rows in (_rows(good.splits, split) for split in ("query", "gallery"))
        )
        return retrieval(asked, gallery)

    return judge


def say_score(bank: "DomainBank", read: ReadCourse) -> None:
    """How good a domain is."""
    from manyeyes.adapt.training.task import score

    course, found = read.course, []
    if len(course.held):
        held = score(bank, course.name, course.photos, course.held, course.objective)
        found.append((held.metrics, "the photos to stop by"))
    if read.judge is not None:
        found.append((read.judge(bank, course.photos), read.judged_by))
    parts = [f"{course.objective.words(metrics)} on {where}" for metrics, where in found if metrics]
    typer.echo(f"{course.name}: {' and '.join(parts)}" if parts else f"{course.name}: nothing to judge by")


def _rows(splits: tuple[str, ...] | None, name: str) -> "Rows":
    import numpy as np

    return np.array([row for row, split in enumerate(splits or ()) if split == name], np.int64)
