"""What each objective costs, how it judges, and in which order it wants photos."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, one_hot

from manyeyes.adapt.tasks import TASKS, objective_for
from manyeyes.adapt.tasks.age import Age, age_of
from manyeyes.adapt.tasks.classification import CLASSIFICATION, Classification, Gender
from manyeyes.adapt.tasks.reidentification import RUN, ReIdentification, held_identities
from manyeyes.adapt.tasks.unlabelled import DomainAdaptation, lacking_information
from manyeyes.adapt.training.in_training import Said
from manyeyes.errors import ChoiceError, MissingExtraError, UnknownNameError

OBJECTIVES = [CLASSIFICATION, Gender(), Age((20.0, 30.0, 40.0)), ReIdentification(), DomainAdaptation()]

seeds = st.integers(0, 2**32 - 1)
many_labels = st.lists(st.integers(-1, 5), min_size=1, max_size=60).map(lambda labels: np.array(labels, np.int64))


def said(logits, features=None):
    return Said(logits, logits if features is None else features, None, None)


def drawn(seed, count=12, classes=3):
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=random) * 3
    return logits, torch.randint(0, classes, (count,), generator=random)


# --- what all have in common


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda one: one.name)
@settings(deadline=None)
@given(labels=many_labels, seed=seeds)
def test_an_epoch_holds_every_photo_once_in_an_order_that_the_generator_alone_decides(objective, labels, seed):
    order = objective.order(labels, np.random.default_rng(seed))
    assert sorted(order) == list(range(len(labels)))
    assert np.array_equal(order, objective.order(labels, np.random.default_rng(seed)))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda one: one.name)
@pytest.mark.parametrize("known", [0, 5, 12])
def test_going_down_on_the_loss_lowers_it_however_few_photos_have_labels(objective, known):
    logits, labels = drawn(1)
    labels[known:] = -1
    logits.requires_grad_()
    loss = objective.loss(said(logits), labels, 0.1)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    if known:
        with torch.no_grad():
            assert objective.loss(said(logits - 0.01 * logits.grad), labels, 0.1) < loss


@pytest.mark.parametrize("objective", OBJECTIVES[:4], ids=lambda one: one.name)
@settings(deadline=None)
@given(seed=seeds)
def test_photos_without_labels_say_nothing(objective, seed):
    logits, labels = drawn(seed)
    more, none = torch.cat([logits, 9 * logits.flip(0)]), torch.cat([labels, torch.full_like(labels, -1)])
    for smoothing in (0.0, 0.2):
        alone, among = (objective.loss(said(*one), two, smoothing) for one, two in (([logits], labels), ([more], none)))
        torch.testing.assert_close(among, alone)
    if len(labels.unique()) < len(labels):
        alone, among = objective.score(logits, logits, labels), objective.score(more, more, none)
        assert among.loss == pytest.approx(alone.loss)
        assert among.metrics == pytest.approx(alone.metrics)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda one: one.name)
def test_where_nothing_is_known_there_are_no_figures_of_what_is_right(objective):
    logits, labels = drawn(0)
    found = objective.score(logits, logits, torch.full_like(labels, -1))
    assert math.isfinite(found.loss)
    assert found.metrics.keys() <= {"information"}


def test_names_stand_for_objectives():
    assert [objective_for(name, ("1", "2")).name for name in TASKS] == list(TASKS)
    with pytest.raises(UnknownNameError, match="'colour' is no task: choose from classification, gender, age"):
        objective_for("colour", ("1", "2"))
    with pytest.raises(ChoiceError, match="tells two classes apart, and there are 3: a, b, c"):
        objective_for("gender", ("a", "b", "c"))


# --- classification


@settings(deadline=None)
@given(seed=seeds, smoothing=st.floats(0, 0.5))
def test_classification_is_cross_entropy_and_the_share_of_the_right_ones(seed, smoothing):
    logits, labels = drawn(seed)
    expected = cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(Classification().loss(said(logits), labels, smoothing), expected)
    found = Classification().score(logits, logits, labels)
    assert found.loss == pytest.approx(float(cross_entropy(logits.double(), labels)), rel=1e-5)
    assert found.accuracy == pytest.approx(float((logits.argmax(dim=1) == labels).double().mean()))
    assert Classification().words({"accuracy": 0.921}) == "92.1% right"


def test_the_usual_order_is_that_of_the_generator():
    labels = np.arange(50)
    expected = np.random.default_rng([3, 4]).permutation(labels * 7)
    assert np.array_equal((labels * 7)[CLASSIFICATION.order(labels, np.random.default_rng([3, 4]))], expected)


# --- age


@settings(deadline=None)
@given(ages=st.lists(st.integers(0, 116), min_size=1, max_size=30, unique=True), data=st.data())
def test_the_expected_age_of_a_sure_answer_is_that_age_and_of_any_other_between_the_ages(ages, data):
    objective = Age(tuple(map(float, ages)))
    label = data.draw(st.integers(0, len(ages) - 1))
    sure = 1e4 * one_hot(torch.tensor([label]), len(ages)).float()
    assert objective.expected(sure).item() == pytest.approx(ages[label])
    assert objective.score(sure, sure, torch.tensor([label])).loss == pytest.approx(0, abs=1e-4)
    logits = torch.randn(4, len(ages), generator=torch.Generator().manual_seed(label))
    assert (objective.expected(logits) >= min(ages) - 1e-3).all()
    assert (objective.expected(logits) <= max(ages) + 1e-3).all()


def test_no_answer_costs_less_than_the_normal_distribution_around_the_true_age_but_for_the_error():
    ages = torch.arange(0, 101).float()
    objective = Age(tuple(ages.tolist()), sigma=2.0, weight=0.0)
    labels = torch.tensor([50])
    best = (-((ages - 50) ** 2) / 8)[None]
    assert objective.loss(said(best), labels, 0.0) == pytest.approx(0, abs=1e-6)
    for other in (best * 2, best / 2, best.roll(1, dims=1), torch.zeros_like(best)):
        assert objective.loss(said(other), labels, 0.0) > 0.05
    both = Age(objective.ages).loss(said(best.roll(3, dims=1)), labels, 0.0)
    assert both - objective.loss(said(best.roll(3, dims=1)), labels, 0.0) == pytest.approx(3, abs=1e-3)


def test_the_mean_absolute_error_is_in_years():
    objective = Age.of(("10", "20-30", "70+"))
    assert objective.ages == (10.0, 25.0, 75.0)
    logits = 1e4 * one_hot(torch.tensor([0, 1, 2]), 3).float()
    found = objective.score(logits, logits, torch.tensor([0, 0, 1]))
    assert found.metrics == {"mean absolute error": pytest.approx((0 + 15 + 50) / 3)}
    assert found.loss == found.metrics["mean absolute error"]
    assert objective.words(found.metrics) == "off by 21.7 years on the mean"


@pytest.mark.parametrize("name", ["", "old", "-5", "30-20", "20-30-40", "5 years", "++"])
def test_a_class_that_is_no_age_is_named(name):
    with pytest.raises(ChoiceError, match="is no age: call it by years, such as 27, 21-30 or 70"):
        age_of(name)
    with pytest.raises(ChoiceError, match=f"the class {name!r}".replace("+", r"\+")):
        objective_for("age", ("27", name))


# --- re-identification


@settings(deadline=None)
@given(counts=st.lists(st.integers(1, 11), min_size=1, max_size=12), seed=seeds)
def test_photos_of_one_identity_come_in_runs(counts, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    ordered = labels[ReIdentification().order(labels, np.random.default_rng(seed))]
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered)) + 1)
    assert all(len(run) > 1 for run in runs if counts[run[0]] > 1)
    assert max(map(len, runs)) <= RUN * max(1, -(-max(counts) // RUN))
    assert len(runs) <= sum(-(-count // RUN) for count in counts)


@settings(deadline=None)
@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=40), seed=st.integers(0, 5))
def test_identities_that_are_held_out_are_not_trained_on(counts, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    train, held = held_identities(labels, seed, 8)
    assert sorted([*train, *held]) == list(range(len(labels)))
    assert not set(labels[train]) & set(labels[held])
    assert all(counts[label] > 1 for label in labels[held])
    several = sum(count > 1 for count in counts)
    assert len(set(labels[held])) == (max(round(several / 8), 2) if several >= 4 else 0)


def test_the_triplet_loss_is_nothing_once_identities_lie_apart():
    labels = torch.tensor([0, 0, 1, 1])
    apart, mixed = torch.eye(2).repeat_interleave(2, dim=0), torch.eye(2).repeat(2, 1)
    logits = torch.zeros(4, 2)
    costs = [float(ReIdentification().loss(said(logits, one), labels, 0.0)) for one in (apart, 5 * apart, mixed)]
    assert costs[:2] == [pytest.approx(math.log(2))] * 2
    assert costs[2] == pytest.approx(math.log(2) + math.sqrt(2) + 0.3, abs=1e-4)


def test_without_the_library_what_to_install_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pytorch_metric_learning", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'manyeyes\[reid\]'"):
        objective_for("re-identification", ("1", "2"))


# --- unlabelled photos


@settings(deadline=None)
@given(seed=seeds, classes=st.integers(2, 6))
def test_information_lacks_least_where_each_is_sure_and_all_are_alike_and_most_where_all_say_the_same(seed, classes):
    logits, _ = drawn(seed, count=classes * 2, classes=classes)
    found = float(lacking_information(logits.double()))
    assert -math.log(classes) - 1e-9 <= found <= 1e-9
    sure = 1e3 * torch.eye(classes).repeat(2, 1)
    assert float(lacking_information(sure)) == pytest.approx(-math.log(classes), abs=1e-5)
    for same in (torch.zeros(5, classes), sure[:1].expand(5, -1), logits[:1].expand(5, -1)):
        assert float(lacking_information(same)) == pytest.approx(0, abs=1e-5)


@settings(deadline=None)
@given(seed=seeds, weight=st.floats(0, 3))
def test_labelled_and_unlabelled_photos_are_judged_together(seed, weight):
    logits, labels = drawn(seed)
    labels[5:] = -1
    objective = DomainAdaptation(weight)
    source = Classification().score(logits[:5], logits[:5], labels[:5])
    lacking = float(lacking_information(logits[5:].double()))
    found = objective.score(logits, logits, labels)
    assert found.loss == pytest.approx(source.loss + weight * lacking, abs=1e-6)
    assert found.metrics == {"accuracy": source.accuracy, "information": pytest.approx(-lacking)}
    loss = objective.loss(said(logits), labels, 0.0)
    assert float(loss) == pytest.approx(found.loss, abs=1e-4)


@settings(deadline=None)
@given(known=st.integers(1, 40), unknown=st.integers(1, 40), seed=seeds)
def test_batches_hold_labelled_and_unlabelled_photos_in_the_same_proportion(known, unknown, seed):
    assume(min(known, unknown) >= 4)
    labels = np.array([0] * known + [-1] * unknown)
    order = DomainAdaptation().order(labels, np.random.default_rng(seed))
    for part in np.array_split(labels[order], 4):
        assert abs((part >= 0).sum() - len(part) * known / len(labels)) <= 2
