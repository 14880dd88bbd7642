"""The one training loop, for whatever a domain is to be good at."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny import CLASSES, SIZE, bank_of, same, some_photos, state_of

from manyeyes.adapt.adapting import Course, adapt
from manyeyes.adapt.gated_transfer import plan_of
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.tasks.age import Age
from manyeyes.adapt.tasks.classification import CLASSIFICATION, Gender
from manyeyes.adapt.tasks.reidentification import ReIdentification, held_identities
from manyeyes.adapt.tasks.unlabelled import DomainAdaptation
from manyeyes.adapt.training import loop
from manyeyes.adapt.training.in_training import InTraining
from manyeyes.adapt.training.pixels import Photos
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.adapt.training.task import DomainTask, features, log_probabilities, score

RECIPE = Recipe(epochs=3, batch=16, patience=9)
ROWS = np.arange(48)


def shades(classes: int, count: int) -> Photos:
    """Noise, the brighter the later the class."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.arange(count) % classes)
    pixels = random.integers(0, 60, (count, SIZE + 4, SIZE + 4, 3)) + (labels * 190 // classes)[:, None, None, None]
    return Photos(pixels.astype(np.uint8), labels, tuple(str(20 + 3 * number) for number in range(classes)), SIZE)


def strangers(identities: int, count: int) -> Photos:
    """Each of one colour, in light that is bright or dim."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.arange(count) % identities)
    colours = random.uniform(20, 250, (identities, 3))[labels] * random.uniform(0.2, 1, (count, 1))
    pixels = random.normal(colours[:, None, None], 20, (count, SIZE + 4, SIZE + 4, 3)).clip(0, 255)
    return Photos(pixels.astype(np.uint8), labels, tuple(map(str, range(identities))), SIZE)


def course_of(task: str) -> Course:
    if task == "classification":
        return Course(task, some_photos(48), ROWS[:36], ROWS[36:])
    if task == "gender":
        photos = some_photos(72)
        two = Photos(photos.pixels, photos.labels, ("female", "male"), SIZE).select(np.flatnonzero(photos.labels < 2))
        return Course(task, two, ROWS[:36], ROWS[36:], Gender())
    if task == "age":
        photos = shades(12, 96)
        return Course(task, photos, np.arange(72), np.arange(72, 96), Age.of(photos.classes))
    if task == "re-identification":
        photos = strangers(16, 96)
        return Course(task, photos, *held_identities(photos.labels, 0, 8), ReIdentification())
    photos, target = some_photos(48), np.arange(48, 96)
    pixels = np.concatenate([photos.pixels, other_place(some_photos(48, seed=2).pixels)])
    both = Photos(pixels, np.append(photos.labels, np.full(48, -1)), CLASSES, SIZE)
    return Course(task, both, np.append(ROWS[:36], target), np.append(ROWS[36:], target), DomainAdaptation())


def other_place(pixels):
    """The same photos in faint evening light."""
    return (pixels * 0.5 + np.array([100, 60, 0])).clip(0, 255).astype(np.uint8)


TASKS = ("classification", "gender", "age", "re-identification", "domain adaptation")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", ["parallel", "parallel+gated"])
def test_every_task_gets_better_by_its_own_measure(task, method):
    course, bank = course_of(task), bank_of()
    rows = course.train
    training = adapt(bank, [course], plan_of(method), dataclasses.replace(RECIPE, smoothing=0.05))
    after = score(bank, task, course.photos, rows, course.objective)
    adapt(bank, [course], plan_of(method), dataclasses.replace(RECIPE, epochs=0))
    before = score(bank, task, course.photos, rows, course.objective)
    assert after.loss < before.loss
    assert training.held.metrics.keys() == training.history[0]["held"]["metrics"].keys()
    assert training.held == score_of(training)
    assert course.objective.words(training.held.metrics)
    assert 0 <= training.history[-1]["accuracy"] <= 1


def score_of(training):
    judged = [one["held"] for one in training.history if one["epoch"] == training.best]
    return type(training.held)(**judged[0]) if judged else training.held


@pytest.mark.parametrize("task", TASKS)
def test_a_run_that_was_stopped_goes_on_bit_for_bit(task, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "EVERY", -1.0)

    def learnt(checkpoints=None):
        bank = bank_of()
        adapt(bank, [course_of(task)], Plan(), dataclasses.replace(RECIPE, epochs=2), checkpoints)
        return state_of(bank[task])

    expected, save, left = learnt(), loop._Run._save, 4

    def stopped(run):
        nonlocal left
        save(run)
        left -= 1
        if not left:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop._Run, "_save", stopped)
    with pytest.raises(KeyboardInterrupt):
        learnt(tmp_path)
    monkeypatch.setattr(loop._Run, "_save", save)
    steps = []
    step = loop._Run.train_step
    monkeypatch.setattr(loop._Run, "train_step", lambda run: steps.append(run.step) or step(run))
    assert same(learnt(tmp_path), expected)
    assert 0 < len(steps) < 2 * DomainTask(bank_of(x=Plan()), "x", *of(course_of(task)), RECIPE).steps


def of(course):
    return course.photos, course.train, course.held


@pytest.mark.parametrize("task", ["re-identification", "domain adaptation"])
def test_what_belongs_together_stays_together_where_processes_share_a_batch(task):
    course = course_of(task)
    bank = bank_of()
    bank.put_new(task, course.photos.classes, Plan("norms"))
    recipe = Recipe(epochs=1, batch=16)
    batch = DomainTask(bank, task, course.photos, course.train, course.held, recipe, course.objective).batch(0, 0)
    for number in (0, 1):
        labels = batch.share(number, 2).labels.tolist()
        if task == "domain adaptation":
            assert 0 < labels.count(-1) < len(labels)
        else:
            assert any(labels.count(one) > 1 for one in labels)


def test_another_objective_is_another_training(tmp_path):
    photos = shades(12, 48)
    for objective in (CLASSIFICATION, Age.of(photos.classes), Age(tuple(range(12))), ReIdentification()):
        adapt(bank_of(), [Course("one", photos, ROWS[:36], ROWS[36:], objective)], Plan("norms"), RECIPE, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_domains_with_different_objectives_are_trained_by_turns():
    courses, bank = [course_of(task) for task in TASKS], bank_of()
    training = adapt(bank, courses, Plan(), RECIPE)
    alone = [score(bank, one.name, one.photos, one.held, one.objective) for one in courses]
    assert training.held.metrics == {}
    assert training.held.loss == pytest.approx(np.mean([one.loss for one in alone]))
    both = adapt(bank_of(), courses[:2], Plan(), RECIPE)
    assert both.held.metrics.keys() == {"accuracy"}


def test_photos_without_labels_count_neither_for_the_head_nor_for_the_decay():
    course = course_of("domain adaptation")
    known = dataclasses.replace(course, train=course.train[:36], held=course.held[:12])
    heads, decays = [], []
    for one in (course, known):
        bank = bank_of()
        adapt(bank, [one], Plan(), dataclasses.replace(RECIPE, epochs=0))
        heads.append(bank[one.name].head.weight)
        task = DomainTask(bank, one.name, *of(one), RECIPE, one.objective)
        decays.append([group["weight_decay"] for group in task.groups()])
    assert torch.equal(*heads)
    assert decays[0] == decays[1]


def test_unlabelled_photos_of_the_place_of_use_make_a_network_right_there():
    course, there = course_of("domain adaptation"), some_photos(90, seed=3)
    there = Photos(other_place(there.pixels), there.labels, CLASSES, SIZE)
    source = Course(course.name, course.photos, course.train[:36], course.held[:12])
    right = []
    for one in (source, course):
        bank = bank_of()
        adapt(bank, [one], Plan(), dataclasses.replace(RECIPE, epochs=8))
        right.append(score(bank, one.name, there, np.arange(90)).accuracy)
    assert right[1] > 0.9
    assert right[1] > right[0] + 0.1


def test_what_is_said_holds_the_features_that_the_head_saw():
    bank = bank_of(one=Plan(gating=plan_of("gated").gating))
    bank["one"].dropout = 0.9
    photos = some_photos(6)
    heard = InTraining(bank, {}).eval()(photos.centres(np.arange(6)), "one")
    torch.testing.assert_close(heard.features, features(bank, "one", photos, np.arange(6)))
    expected = log_probabilities(bank, "one", photos, np.arange(6))
    torch.testing.assert_close(torch.log_softmax(heard.logits, dim=1), expected)
    bank.train()
    assert (InTraining(bank, {})(photos.centres(np.arange(6)), "one").features != 0).float().mean() > 0.5
