"""A path by itself: it begins as it was in the supernet, is trained from there, and is worth as much as a card."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import SIZE, bank_of, card_of, distance, some_photos

from manyeyes.adapt.adapting import Course, go_on
from manyeyes.adapt.fold import write_folded
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.supernet.architecture import alone, tune
from manyeyes.adapt.supernet.finding import Budget, Finding, find_smaller
from manyeyes.adapt.supernet.judging import PathJudge
from manyeyes.adapt.supernet.supernet import Supernet
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.adapt.training.task import score
from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.errors import AdaptError

COURSE = Course("one", some_photos(60), np.arange(48), np.arange(48, 60))
RECIPE = Recipe(epochs=2, batch=24, rate=0.003)
PREPROCESSING = card_of().preprocessing


@pytest.mark.parametrize("plan", [Plan("full"), Plan("lowrank")], ids=lambda plan: plan.method)
@pytest.mark.parametrize("kind", ["resnet", "efficientnet", "vit"])
def test_a_path_alone_begins_as_it_was_in_the_supernet(kind, plan):
    supernet, _ = tune(bank_of(kind), COURSE, plan, RECIPE)
    random = np.random.default_rng(0)
    space = supernet.space
    for path in (space.full, space.thinnest, space.smallest, space.sample(random)):
        bank, course = alone(supernet, path, COURSE, PREPROCESSING)
        mine, theirs = score(bank, "one", course.photos, course.held), PathJudge(supernet, COURSE).score(path)
        assert mine.loss == pytest.approx(theirs.loss, rel=1e-3, abs=1e-5)
        assert mine.accuracy == theirs.accuracy


def test_it_is_trained_from_there_and_the_supernet_stays_as_it_is():
    supernet, _ = tune(bank_of("resnet"), COURSE, Plan("full"), RECIPE)
    thinnest = supernet.space.thinnest
    before = PathJudge(supernet, COURSE).score(thinnest)
    bank, course = alone(supernet, thinnest, COURSE, PREPROCESSING)
    training = go_on(bank, [course], RECIPE)
    assert training.held.loss < before.loss
    assert PathJudge(supernet, COURSE).score(thinnest) == before


def test_weights_may_be_those_that_the_backbone_came_with():
    bank = bank_of("resnet")
    came = Supernet(bank)
    thinnest = came.space.thinnest
    small, course = alone(came, thinnest, COURSE, PREPROCESSING)
    assert small.dimension == came.dimension(thinnest)
    assert score(small, "one", course.photos, course.train).accuracy == 1  # with a head for what it sees


def test_a_smaller_path_sees_smaller_photos_and_becomes_a_card(tmp_path):
    photos = some_photos(60).at(64)
    course = Course("one", photos, np.arange(48), np.arange(48, 60))
    card = dataclasses.replace(card_of("test_resnet", 384), preprocessing=PREPROCESSING.at(64))
    whole = bank_of("resnet").train(False)
    bank = type(whole)(whole._whole, 64)
    supernet, _ = tune(bank, course, Plan("full"), RECIPE)
    genes = [gene.kind for gene in supernet.space.genes]
    path = tuple({"size": 1, "exit": 1, "width": 2}.get(kind, 0) for kind in genes)
    small, small_course = alone(supernet, path, course, card.preprocessing)
    assert (small.size, small_course.photos.size, small.dimension) == (48, 48, 192)
    go_on(small, [small_course], RECIPE)
    card = supernet.card_of(path, card)
    made = write_folded(small, "one", card, tmp_path / "small")
    assert (made.dimension, made.preprocessing.size, made.macs) == (192, 48, supernet.cost(path).macs / 1e9)
    rows = np.arange(4)
    seen = Backbone.load(made).embed(small_course.photos.centres(rows).numpy()).blocks[FINAL]
    with small.using("one"), torch.no_grad():
        wanted = small.eval().features(small_course.photos.centres(rows))
    assert distance(torch.from_numpy(seen), wanted) < 1e-4


def test_a_budget_below_the_smallest_path_is_told_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("manyeyes.adapt.supernet.architecture.train", None)
    with pytest.raises(AdaptError, match=r"no path takes 0.0 million MACs or fewer: the smallest takes"):
        find_smaller(bank_of("resnet"), card_of(), COURSE, Finding(Budget(1.0)), RECIPE, tmp_path)
    with pytest.raises(AdaptError, match="the network has no block that could be smaller"):
        find_smaller(bank_of("vgg"), card_of(), COURSE, Finding(Budget.read("0.5x")), RECIPE, tmp_path)
    none_held = dataclasses.replace(COURSE, held=COURSE.held[:0])
    with pytest.raises(AdaptError, match="one has too few photos to hold some out for the search"):
        find_smaller(bank_of("resnet"), card_of(), none_held, Finding(Budget.read("0.5x")), RECIPE, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_source_of_the_same_name_is_refused():
    with pytest.raises(AdaptError, match="the source and the target are both called 'one'"):
        tune(bank_of("resnet", one=Plan("full")), COURSE, Plan("full"), RECIPE, source="one")


def test_paths_are_tuned_by_one_process(monkeypatch):
    monkeypatch.setattr("manyeyes.adapt.supernet.architecture.PartialState", lambda: SimpleNamespace(num_processes=2))
    with pytest.raises(AdaptError, match="start it without accelerate launch"):
        tune(bank_of("resnet"), COURSE, Plan("full"), RECIPE)


def test_mixed_precision_tunes_too():
    supernet, training = tune(bank_of("resnet"), COURSE, Plan("full"), dataclasses.replace(RECIPE, precision="bf16"))
    assert training.history[-1]["loss"] < training.history[0]["loss"]
    assert PathJudge(supernet, COURSE).score(supernet.space.thinnest).accuracy > 0.9


def test_photos_in_another_size_keep_their_margin():
    photos = some_photos(6)
    smaller = photos.at(SIZE // 2)
    assert smaller.pixels.shape == (6, (SIZE + 4) // 2, (SIZE + 4) // 2, 3)
    assert smaller.size == SIZE // 2 and smaller.classes == photos.classes
    assert np.abs(smaller.pixels.mean(axis=(1, 2)) - photos.pixels.mean(axis=(1, 2))).max() < 2
