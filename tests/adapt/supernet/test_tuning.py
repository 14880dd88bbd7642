"""A supernet on the target: all paths learn, and what norms see on one path is forgotten on the others."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny import bank_of, framed, same, some_photos, state_of

from manyeyes.adapt.adapting import Course
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.supernet.architecture import tune
from manyeyes.adapt.supernet.judging import PathJudge
from manyeyes.adapt.supernet.supernet import Supernet
from manyeyes.adapt.supernet.tuning import Remembered, SupernetTask
from manyeyes.adapt.training import checkpoint as checkpoints
from manyeyes.adapt.training.recipe import Recipe

RECIPE = Recipe(epochs=6, batch=12, rate=0.003, head_rate=1.0, norm_rate=1.0, body_rate=1.0, warm_up=0.5)
SHORT = Recipe(epochs=2, batch=24, rate=0.003)
COURSE = Course("one", some_photos(60), np.arange(48), np.arange(48, 60))
UNLABELLED = dataclasses.replace(
    COURSE, photos=dataclasses.replace(COURSE.photos, labels=np.where(np.arange(60) < 48, -1, COURSE.photos.labels))
)


@pytest.mark.parametrize("plan", [Plan("full"), Plan("parallel")], ids=lambda plan: plan.method)
@pytest.mark.parametrize("kind", ["convnext", "resnet", "vit"])
def test_every_path_learns(kind, plan):
    bank = bank_of(kind)
    plain = bank.features(framed())
    begun, _ = tune(bank, COURSE, plan, Recipe(epochs=0))
    space = begun.space
    paths = (space.full, space.thinnest, begun.ways_out()[-1])
    before = [PathJudge(begun, COURSE).score(path).loss for path in paths]
    supernet, training = tune(bank, COURSE, plan, RECIPE)
    after = [PathJudge(supernet, COURSE).score(path).loss for path in paths]
    assert after[0] < before[0] and np.mean(after) < np.mean(before)
    assert training.held is None  # nothing was judged by photos that are for the search
    assert torch.equal(bank.switch(None).features(framed()), plain)  # the backbone itself is as it came


def test_the_same_seed_tunes_the_same_and_another_seed_does_not():
    one, again, other = (
        tune(bank_of("efficientnet"), COURSE, Plan("full"), dataclasses.replace(SHORT, seed=seed))[0]
        for seed in (0, 0, 1)
    )
    assert same(state_of(one.bank["one"]), state_of(again.bank["one"]))
    assert same(state_of(one.heads), state_of(again.heads))
    assert not same(state_of(one.bank["one"]), state_of(other.bank["one"]))


def test_a_tuning_that_was_stopped_goes_on_and_is_kept_when_it_is_done(tmp_path, monkeypatch):
    whole, _ = tune(bank_of("resnet"), COURSE, Plan("full"), SHORT)
    steps = []

    def some(self, epoch, step):
        if len(steps) == 3:
            raise KeyboardInterrupt
        steps.append((epoch, step))
        return SupernetTask.__base__.batch(self, epoch, step)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("manyeyes.adapt.training.loop.EVERY", 0.0)
        batch = SupernetTask.batch
        patched.setattr(SupernetTask, "batch", lambda self, *at: (some(self, *at), batch(self, *at))[1])
        tune(bank_of("resnet"), COURSE, Plan("full"), SHORT, tmp_path)
    (file,) = tmp_path.iterdir()
    assert not checkpoints.is_closed(file)
    for _ in range(2):  # it goes on, and then it is there
        supernet, training = tune(bank_of("resnet"), COURSE, Plan("full"), SHORT, tmp_path)
        assert checkpoints.is_closed(file)
        assert training.epochs == 2
        assert same(state_of(supernet.bank["one"]), state_of(whole.bank["one"]))
        assert same(state_of(supernet.heads), state_of(whole.heads))


def test_paths_that_turn_out_well_are_drawn_near_later():
    bank = bank_of("resnet", one=Plan("full"))
    supernet = Supernet(bank, "one")
    task = SupernetTask(supernet, COURSE, dataclasses.replace(RECIPE, epochs=4))
    space, random = supernet.space, np.random.default_rng(0)
    good = space.sample(random)
    task.remembered.note(good, torch.tensor(-1.0))
    for _ in range(20):
        task.remembered.note(space.sample(random), torch.tensor(2.0))
    assert good in task.remembered.best(supernet)
    distances = {}
    for epoch in (0, 2):
        task._good = []
        drawn = []
        for step in range(40):
            task.batch(epoch, step % task.steps)
            if task._good:
                task._good = [good]
            task._random = np.random.default_rng([epoch, step])
            drawn.append(task._between()[0])
        distances[epoch] = np.mean([np.count_nonzero(np.array(path) != np.array(good)) for path in drawn])
    assert distances[2] < distances[0] / 1.5


def test_what_is_remembered_is_bounded_and_the_oldest_goes():
    supernet = Supernet(bank_of("resnet"))
    remembered = Remembered(len(supernet.space.genes))
    assert remembered.best(supernet) == []
    for number in range(600):
        remembered.note(supernet.space.full, torch.tensor(float(number)))
    assert len(remembered.paths) == 512
    assert sorted(remembered.excess.tolist())[0] == 88.0


def test_a_supernet_may_begin_as_that_of_a_source():
    bank = bank_of("resnet")
    source = dataclasses.replace(COURSE, name="source")
    tune(bank, source, Plan("full"), SHORT)
    begun, _ = tune(bank, COURSE, Plan("full"), Recipe(epochs=0), source="source")
    theirs = state_of(bank["source"])
    mine = state_of(begun.bank["one"])
    assert same(*({name: one for name, one in state.items() if "head" not in name} for state in (mine, theirs)))
    assert not same(mine, theirs)
    assert PathJudge(begun, COURSE).score(begun.space.full).accuracy == 1


def test_paths_learn_to_see_what_the_backbone_sees_without_a_label():
    bank = bank_of("convnext")
    with bank.using(None), torch.no_grad():
        wanted = bank.features(framed())
    begun, _ = tune(bank, UNLABELLED, Plan("full"), Recipe(epochs=0), labelled=False)

    def similarity(supernet):
        with PathJudge(supernet, UNLABELLED).on(supernet.space.thinnest), torch.no_grad():
            return torch.cosine_similarity(bank.features(framed()), wanted).mean()

    before = similarity(begun)
    supernet, training = tune(bank, UNLABELLED, Plan("full"), dataclasses.replace(RECIPE, rate=0.001), labelled=False)
    assert similarity(supernet) > before
    assert training.history[-1]["loss"] < training.history[0]["loss"]
    assert not bank["one"].head.weight.any()  # nobody has looked at a label


def test_features_alone_tell_how_good_a_path_is():
    supernet = Supernet(bank_of("resnet", one=Plan("full")), "one")
    found = PathJudge(supernet, COURSE).score_linearly(supernet.space.thinnest)
    assert found.accuracy > 0.9 and found.loss < 0.5
    shuffled = np.random.default_rng(0).permutation(COURSE.photos.labels)
    at_random = dataclasses.replace(COURSE, photos=dataclasses.replace(COURSE.photos, labels=shuffled))
    assert PathJudge(supernet, at_random).score_linearly(supernet.space.thinnest).loss > found.loss
