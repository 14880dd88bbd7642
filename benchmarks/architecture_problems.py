"""The five tasks of `architecture.py`: photos to learn from, photos to search by, and what judges in the end."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manyeyes.adapt.adapting import Course
from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.tasks.age import Age
from manyeyes.adapt.tasks.classification import CLASSIFICATION, Gender
from manyeyes.adapt.tasks.objective import UNLABELLED, Metrics, Objective
from manyeyes.adapt.tasks.reidentification import ReIdentification
from manyeyes.adapt.tasks.retrieval import Shots, retrieval
from manyeyes.adapt.tasks.unlabelled import DomainAdaptation
from manyeyes.adapt.training.pixels import Photos, open_photos
from manyeyes.adapt.training.task import features, score
from manyeyes.backbones.card import Preprocessing
from manyeyes.images import read_photos

# The bins of UTKFace's folders `bin.gender`.
AGES = ("0-5", "6-10", "11-15", "16-20", "21-30", "31-40", "41-50", "51-60", "61-70", "71+")
GENDERS = ("male", "female")


@dataclass(frozen=True)
class Problem:
    """course : what is learnt from, and what is held out for the search. judge : of a bank's domain, by photos of the
    course, whatever its name and their size, that have no part in either."""

    course: Course
    judge: Callable[[DomainBank, Course], Metrics]


def problem(task: str, folders: dict[str, Path], preprocessing: Preprocessing, seed: int) -> Problem:
    """One drawing of a task's photos."""
    random = np.random.default_rng(seed)
    if task == "classification":
        return by_class(
            "flowers", folders["flowers"], str, (10, 5, 25), preprocessing, random, lambda _: CLASSIFICATION
        )
    if task == "gender":
        return by_class(task, folders["faces"], gender_of, (80, 40, 300), preprocessing, random, lambda _: Gender())
    if task == "age":
        return by_class(task, folders["faces"], age_of, (16, 8, 60), preprocessing, random, Age.of)
    if task == "re-identification":
        return by_track(folders["signs"], preprocessing, random)
    return by_place(folders["photo"], folders["place"], preprocessing, random)


def gender_of(folder: str) -> str:
    return GENDERS[int(folder.partition(".")[2])]


def age_of(folder: str) -> str:
    return AGES[int(folder.partition(".")[0])]


def by_class(
    name: str,
    folder: Path,
    label_of: Callable[[str], str],
    counts: tuple[int, int, int],
    preprocessing: Preprocessing,
    random: np.random.Generator,
    objective_of: Callable[[tuple[str, ...]], Objective],
) -> Problem:
    """So many photos of each class to learn from, to search by, and to judge by."""
    found = read_photos(folder)
    labels = [label_of(one) for one in found.labels]
    paths, chosen, parts = [], [], ([], [], [])
    for label in sorted(set(labels)):
        rows = random.permutation([row for row, one in enumerate(labels) if one == label])
        for part, some in zip(parts, np.split(rows, np.cumsum(counts))[:3], strict=True):
            part.extend(range(len(paths), len(paths) + len(some)))
            paths += [found.paths[row] for row in some]
            chosen += [label] * len(some)
    photos = open_photos(paths, chosen, preprocessing).photos
    train, held, rest = map(np.array, parts)
    objective = objective_of(photos.classes)

    def judge(bank: DomainBank, course: Course) -> Metrics:
        return score(bank, course.name, course.photos, rest, objective).metrics

    return Problem(Course(name, photos, train, held, objective), judge)


def by_track(folder: Path, preprocessing: Preprocessing, random: np.random.Generator) -> Problem:
    """Traffic signs, each by itself an identity of two frames: to one, the other is to be found among all others."""
    found = read_photos(folder)
    tracks = [
        f"{label} {Path(path).name.partition('_')[0]}" for path, label in zip(found.paths, found.labels, strict=True)
    ]
    rows = np.array([np.flatnonzero(np.array(tracks) == one) for one in random.permutation(sorted(set(tracks)))[:435]])
    train, held, rest = np.split(np.arange(rows.size).reshape(rows.shape), [90, 135])
    order = rows.ravel()
    photos = open_photos([found.paths[row] for row in order], [tracks[row] for row in order], preprocessing).photos

    def judge(bank: DomainBank, course: Course) -> Metrics:
        asked, gallery = (
            Shots(
                features(bank, course.name, course.photos, some), course.photos.labels[some], np.full(len(some), camera)
            )
            for camera, some in enumerate(rest.T)
        )
        return retrieval(asked, gallery)

    return Problem(Course("signs", photos, train.ravel(), held.ravel(), ReIdentification()), judge)


def by_place(source: Path, place: Path, preprocessing: Preprocessing, random: np.random.Generator) -> Problem:
    """Labelled photos, and pictures of the same things of another kind: some without labels to learn from, others to
    judge by."""
    known, new = read_photos(source), read_photos(place)
    parts: tuple[list[int], ...] = ([], [], [], [])
    paths, labels = [], []
    for photos, counts, some in ((known, (20, 10), parts[:2]), (new, (20, 30), parts[2:])):
        for label in photos.classes:
            rows = random.permutation([row for row, one in enumerate(photos.labels) if one == label])
            for part, chosen in zip(some, np.split(rows, np.cumsum(counts))[:2], strict=True):
                part.extend(range(len(paths), len(paths) + len(chosen)))
                paths += [photos.paths[row] for row in chosen]
                labels += [label] * len(chosen)
    opened = open_photos(paths, labels, preprocessing).photos
    train, held, unlabelled, rest = map(np.array, parts)
    hidden = opened.labels.copy()
    hidden[unlabelled] = UNLABELLED
    shown = Photos(opened.pixels, hidden, opened.classes, opened.size)

    def judge(bank: DomainBank, course: Course) -> Metrics:
        return score(bank, course.name, course.photos, rest, CLASSIFICATION).metrics

    course = Course("place", shown, np.append(train, unlabelled), np.append(held, unlabelled), DomainAdaptation())
    return Problem(course, judge)
