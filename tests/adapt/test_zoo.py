"""A zoo adapted to photos: who learns from which photo, cards like any others, and nothing trained twice."""

import os
import shutil
from functools import partial

import numpy as np
import pytest
from child import Child
from hypothesis import given
from hypothesis import strategies as st

from manyeyes.adapt import zoo
from manyeyes.adapt.adapting import open_bank
from manyeyes.adapt.supernet.finding import Finding
from manyeyes.adapt.supernet.supernet import Supernet
from manyeyes.adapt.zoo import Adapting, adapt_zoo, check_adaptable, part
from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.zoo import read_zoo
from manyeyes.errors import AdaptError, ChoiceError, PhotoSourceError, TooManyRejectedError, UnknownNameError
from manyeyes.features.extract import extract

SHORT = Adapting(size=32, epochs=1)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(zoo, "LEAST_STEPS", 1)


@pytest.fixture
def cards(world):
    return read_zoo(world.zoo.rpartition(",")[2])


def adapted(world, cards, **others):
    return adapt_zoo(cards, world.paths, np.array(world.labels), None, SHORT, **others)


# --- who learns from which photo


@given(st.lists(st.integers(0, 3), min_size=4, max_size=40), st.integers(0, 3))
def test_every_class_is_among_the_rest_and_nothing_is_lost(labels, seed):
    labels = np.unique(labels, return_inverse=True)[1]
    if np.sum(np.bincount(labels) > 1) < 2:
        with pytest.raises(AdaptError, match="too few photos"):
            part(labels, seed)
        return
    learnt = part(labels, seed)
    rest = np.setdiff1d(np.arange(len(labels)), learnt)
    assert len(set(learnt.tolist())) == len(learnt)
    assert set(labels[rest]) == set(labels)
    assert set(labels[learnt]) >= {number for number, count in enumerate(np.bincount(labels)) if count > 2}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=4, max_size=40), st.integers(0, 3))
def test_groups_are_not_parted_even_where_they_hold_several_classes(pairs, seed):
    labels, groups = np.unique([label for label, _ in pairs], return_inverse=True)[1], np.array([g for _, g in pairs])
    try:
        learnt = part(labels, seed, groups)
    except AdaptError:
        return
    assert not set(groups[learnt]) & set(np.delete(groups, learnt))
    assert set(np.delete(labels, learnt)) == set(labels)


def test_a_class_in_one_group_stays_with_the_rest():
    labels, groups = np.repeat([0, 1, 2], 8), np.array([*range(16), *[99] * 8])
    assert not np.isin(np.arange(16, 24), part(labels, 0, groups)).any()


def test_copies_of_a_file_stand_on_one_side(world, cards, tmp_path):
    copies = [shutil.copy(path, tmp_path / f"{number}.png") for number, path in enumerate(world.paths)]
    paths, labels = world.paths + [str(copy) for copy in copies], np.array(world.labels * 2)
    made = adapt_zoo(cards, paths, labels, None, SHORT)
    assert len(set(made.learnt)) == len(made.learnt) / 2 == len(world.paths) / 2


def test_photos_that_cannot_be_read_are_left_out(world, cards, tmp_path):
    (tmp_path / "broken.png").write_text("no photo")
    paths = [str(tmp_path / "broken.png"), *world.paths]
    made = adapt_zoo(cards, paths, np.array(["sea", *world.labels]), None, SHORT)
    assert made == adapted(world, cards)
    with pytest.raises(TooManyRejectedError, match="1 of 37") as error:
        adapt_zoo(cards, paths, np.array(["sea", *world.labels]), None, SHORT, max_rejected=0.0)
    assert [one.path for one in error.value.rejected] == paths[:1]


# --- what comes out


def test_the_cards_are_like_any_others_and_see_something_new(world, cards):
    made = adapted(world, cards)
    (card,) = made.cards
    assert (card.name, card.dimension, card.preprocessing.size) == ("tiny-adapted", cards[0].dimension, 32)
    seen = extract(world.paths, [Backbone.load(card)])
    assert seen.table.blocks["tiny-adapted"].shape == (36, card.dimension)
    assert set(made.learnt) < set(seen.photos)
    assert len(made.learnt) == 18
    plain = Backbone.load(cards[0]).card
    assert plain == cards[0]  # it is still there, as it came


def test_a_backbone_may_become_a_smaller_one(world, cards, tmp_path, monkeypatch):
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path))  # where tuned paths stay
    monkeypatch.setattr(zoo, "Finding", partial(Finding, population=4, generations=1))
    macs = {}
    for method in ("full", "supernet:0.8x", "supernet:0.9x"):
        (card,) = adapt_zoo(cards, world.paths, np.array(world.labels), None, Adapting(method, 48, 1)).cards
        supernet = Supernet(open_bank(card)[0])
        macs[method] = supernet.cost(supernet.space.full).macs
        assert extract(world.paths, [Backbone.load(card)]).table.blocks["tiny-adapted"].shape == (36, card.dimension)
    assert macs["supernet:0.8x"] <= 0.8 * macs["full"]
    assert macs["supernet:0.8x"] <= macs["supernet:0.9x"] <= 0.9 * macs["full"]


def test_the_same_photos_and_choices_are_not_trained_on_twice(world, cards, monkeypatch):
    before = adapted(world, cards)
    monkeypatch.setattr(zoo, "adapt", lambda *_: pytest.fail("trained again"))
    again = adapted(world, cards)
    assert again == before


def test_other_labels_are_trained_on_anew(world, cards):
    other = ["sea" if label == "leaf" else label for label in world.labels]
    made = adapt_zoo(cards, world.paths, np.array(other), None, SHORT)
    assert made.cards[0].source != adapted(world, cards).cards[0].source


def test_labels_of_any_kind_are_numbered_as_they_are_sorted(world, cards):
    numbers = np.array([{"apple": 2, "leaf": 10, "sea": 1}[label] for label in world.labels])
    (opened,) = zoo.open_for(cards, world.paths, numbers, 32)
    assert opened.photos.labels.tolist() == np.searchsorted([1, 2, 10], numbers).tolist()


# --- what is refused


def test_a_net_that_is_no_torch_network_is_named_before_any_work(world):
    with pytest.raises(AdaptError, match=r"tint is no torch network \(its net is 'onnx'\).*leave it out of the zoo"):
        check_adaptable(read_zoo(world.zoo))


@pytest.mark.parametrize(
    ("choices", "error", "words"),
    [
        ({"method": "series"}, ChoiceError, "series"),
        ({"method": "magic"}, UnknownNameError, "choose from parallel, series, lowrank"),
        ({"method": "supernet:2x"}, ChoiceError, "a share of the backbone's MACs up to 1"),
        ({"epochs": 0}, ChoiceError, "epochs of 1 or more"),
        ({"size": 0}, ChoiceError, "size in pixels above 0"),
    ],
)
def test_choices_that_do_not_exist_are_told(choices, error, words):
    with pytest.raises(error, match=words):
        Adapting(**choices)


def test_few_photos_are_passed_over_more_often(monkeypatch):
    monkeypatch.setattr(zoo, "LEAST_STEPS", 60)
    assert Adapting(epochs=10).recipe(20).epochs == 60
    assert Adapting(epochs=10).recipe(32_000).epochs == 10


def test_photos_that_change_between_two_backbones_are_told_of(world, cards, tmp_path):
    paths = [shutil.copy(path, tmp_path / f"{number}.png") for number, path in enumerate(world.paths)]
    opened = zoo.open_for([*cards, *cards], [str(path) for path in paths], np.array(world.labels), 32)
    next(opened)
    shutil.copy(paths[0], paths[-1])
    with pytest.raises(AdaptError, match="changed while they were looked at"):
        next(opened)


@pytest.mark.parametrize("readable", [0, 1])
def test_too_little_that_can_be_read_is_told_of(world, cards, tmp_path, readable):
    (tmp_path / "broken.png").write_text("no photo")
    paths = [*world.paths[:readable], str(tmp_path / "broken.png"), str(tmp_path / "broken.png")]
    labels = np.array([*world.labels[:readable], "sea", "leaf"])
    with pytest.raises(PhotoSourceError, match="two classes"):
        adapt_zoo(cards, paths, labels, None, SHORT)


def adapt_in_a_process(home, paths, labels, cards, answer):
    os.environ["MANYEYES_HOME"] = home  # its own is that of whichever test started the server of processes
    zoo.LEAST_STEPS = 1
    answer.send(adapt_zoo(cards, paths, labels, None, SHORT).cards)


def test_two_runs_at_once_make_it_once(world, cards, tmp_path):
    home = str(tmp_path / "home")
    children = [Child(adapt_in_a_process, home, world.paths, np.array(world.labels), cards) for _ in range(2)]
    made = [child.pipe.recv() for child in children]
    assert [child.end() for child in children] == [0, 0]
    assert made[0] == made[1]
    assert not list((tmp_path / "home" / "training").iterdir())
