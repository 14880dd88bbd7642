"""A supernet on the target: all paths learn, and what norms see on one path is forgotten on the others."""

import numpy as np
import pytest
import torch
from tiny import SIZE, bank_of, framed, same, some_photos, state_of, whole_of

from manyeyes.adapt.adapting import Course
from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.gated_transfer import plan_of
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.supernet.statistics import by_batch, calibrated
from manyeyes.adapt.supernet.supernet import Supernet
from manyeyes.adapt.supernet.tuning import SupernetTask, on_calibrated, score_path
from manyeyes.adapt.training.loop import train
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.adapt.training.start import fit_head
from manyeyes.errors import AdaptError

RECIPE = Recipe(epochs=6, batch=12, rate=0.003, head_rate=1.0, norm_rate=1.0, body_rate=1.0, warm_up=0.5)
COURSE = Course("one", some_photos(60), np.arange(48), np.arange(48, 60))


def tuned(kind: str, recipe: Recipe = RECIPE):
    whole = whole_of(kind)
    supernet, bank = Supernet(whole, SIZE), DomainBank(whole, SIZE)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bank.put_new("one", COURSE.photos.classes, Plan("full"))
    fit_head(bank, "one", COURSE.photos, COURSE.train)
    before = {path: score_path(bank, supernet, COURSE, path) for path in (supernet.space.full, supernet.space.smallest)}
    train(SupernetTask(bank, supernet, COURSE, recipe), recipe)
    return bank.eval(), supernet, before


@pytest.mark.parametrize("kind", ["efficientnet", "resnet", "vit"])
def test_every_path_learns(kind):
    bank, supernet, before = tuned(kind)
    space = supernet.space
    for path in (space.full, space.smallest):
        assert score_path(bank, supernet, COURSE, path).loss < before[path].loss
    middle = space.sample(np.random.default_rng(5))
    assert score_path(bank, supernet, COURSE, middle).accuracy > 0.6
    plain = bank_of(kind).features(framed())
    assert torch.equal(bank.switch(None).features(framed()), plain)  # the backbone itself is as it came


def test_the_same_seed_tunes_the_same():
    short = Recipe(epochs=1, batch=24, rate=0.01)
    assert same(state_of(tuned("efficientnet", short)[0]["one"]), state_of(tuned("efficientnet", short)[0]["one"]))


def test_norms_of_a_path_forget():
    bank, supernet, _ = tuned("efficientnet", Recipe(epochs=0))
    before = state_of(bank)
    smallest = supernet.space.smallest
    with on_calibrated(bank, supernet, COURSE, smallest):
        one = bank.features(framed())
    with bank.using("one"), supernet.on(smallest):
        other = bank.features(framed())
    assert not torch.allclose(one, other)
    assert same(state_of(bank), before)
    with pytest.raises(RuntimeError), on_calibrated(bank, supernet, COURSE, smallest):
        raise RuntimeError
    assert same(state_of(bank), before)


def test_norms_by_the_batch_are_those_of_the_batch_and_remember_nothing():
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(3)).eval()
    x, before = torch.randn(8, 3, 4, 4) * 3 + 1, state_of(network)
    with by_batch(network):
        assert torch.allclose(network(x).mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert not network[0].training
    assert torch.allclose(network(x), x, atol=1e-4)  # by its statistics, which nobody has changed
    with calibrated(network, lambda: network(x)):
        assert torch.allclose(network(x).mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4)
        assert not network[0].training
    assert same(state_of(network), before)


def test_adapters_and_gates_are_refused():
    whole = whole_of("efficientnet")
    supernet, bank = Supernet(whole, SIZE), DomainBank(whole, SIZE)
    for number, words in enumerate(("parallel", "gated")):
        bank.put_new(str(number), COURSE.photos.classes, plan_of(words))
        course = Course(str(number), COURSE.photos, COURSE.train, COURSE.held)
        with pytest.raises(AdaptError, match="adapters and gates fit one path"):
            SupernetTask(bank, supernet, course, RECIPE)
