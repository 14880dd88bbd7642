"""The loop: what it learns, when it stops, and that being killed changes nothing."""

import dataclasses
import os
import socket

import numpy as np
import pytest
import torch
from child import Child
from tiny import METHODS, bank_of, framed, same, shaken, some_photos, state_of
from torch import nn

from manyeyes.adapt.adapting import Course, adapt
from manyeyes.adapt.compress import compressed, new_domain_like
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.tasks.objective import Score
from manyeyes.adapt.training import checkpoint, loop
from manyeyes.adapt.training.loop import train
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.adapt.training.task import DomainTask, RoundRobin, score
from manyeyes.errors import AdaptError

RECIPE = Recipe(epochs=2, batch=6, norm_rate=1.0, head_rate=1.0, optimiser="sgd", rate=0.05)
PLAN = Plan()
TRAIN, HELD = np.arange(18), np.arange(18, 24)


def task_of(bank=None, recipe=RECIPE, name="one", photos=None, train=TRAIN, held=HELD, **plan):
    bank = bank or bank_of(one=Plan(**plan))
    return DomainTask(bank, name, photos or some_photos(), train, held, recipe)


def learnt_with(recipe=RECIPE, checkpoint=None, **choices):
    task = task_of(recipe=recipe, **choices)
    training = train(task, recipe, checkpoint)
    return state_of(task.bank["one"]), training


@pytest.fixture(scope="module")
def usual():
    return learnt_with()


# --- what is learnt


@pytest.mark.parametrize(
    ("method", "recipe"),
    [
        *((method, RECIPE) for method in METHODS),
        (
            "parallel",
            Recipe(
                batch=6,
                norm_rate=1.0,
                head_rate=1.0,
                rate=0.005,
                optimiser="adamw",
                schedule="step",
                warm_up=0,
                clip=0.0,
            ),
        ),
        (
            "parallel",
            Recipe(
                batch=6,
                norm_rate=1.0,
                head_rate=1.0,
                optimiser="sgd",
                rate=0.1,
                schedule="constant",
                momentum=0.0,
                smoothing=0.1,
                dropout=0.2,
            ),
        ),
        ("series", Recipe(batch=6, norm_rate=1.0, head_rate=1.0, optimiser="sgd", rate=0.05, precision="bf16")),
    ],
    ids=[*METHODS, "adamw", "plain", "bf16"],
)
def test_every_way_of_training_lowers_the_loss(recipe, method):
    recipe = dataclasses.replace(recipe, epochs=5)
    task = task_of(recipe=recipe, method=method, held=HELD[:0], dropout=0.1)
    training = train(task, recipe)
    assert training.epochs == training.best == len(training.history) == 5
    assert training.held is None
    assert score(task.bank, "one", task.photos, TRAIN).loss < np.log(3) - 0.01  # as it began, it knew nothing
    assert not task.bank.training


def test_the_same_seed_gives_the_same_domain_and_another_another(usual):
    state, training = usual
    again, training_again = learnt_with()
    assert same(state, again)
    assert training_again == training
    torch.manual_seed(5)
    assert same(state, learnt_with()[0])
    assert not same(state, learnt_with(dataclasses.replace(RECIPE, seed=1))[0])


def test_training_draws_nothing_from_the_callers_generator():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    learnt_with(dataclasses.replace(RECIPE, dropout=0.5))
    assert torch.equal(torch.rand(2), expected)


def test_the_backbone_sees_a_large_batch_as_before_to_the_last_bit():
    """Other kernels see to large batches, and they sum in an order that depends on how weights lie in memory."""
    bank = bank_of("efficientnet", one=Plan())
    before = bank.features(framed(64))
    train(task_of(bank, held=HELD[:0]), dataclasses.replace(RECIPE, epochs=1))
    assert torch.equal(bank.switch(None).features(framed(64)), before)


@pytest.mark.parametrize(("method", "statistics"), [("parallel", "source"), ("series", "own"), ("norms", "own")])
def test_the_backbone_and_other_domains_stay_as_they_were(method, statistics):
    bank = bank_of(one=Plan(method, statistics=statistics), two=Plan(method))
    shaken(bank["two"])
    seen, network, other = bank.features(framed()), state_of(bank.network), state_of(bank["two"])
    before = state_of(bank["one"])
    train(task_of(bank, held=HELD[:0]), RECIPE)
    assert torch.equal(bank.switch(None).features(framed()), seen)
    assert same(state_of(bank.network), network)
    assert same(state_of(bank["two"]), other)
    after = state_of(bank["one"])
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    parts = {"_norms", "head"} if method == "norms" else {"_adapters", "_norms", "head"}
    assert {name.partition(".")[0] for name in moved} == parts
    assert any(name.startswith("_norms") and "running" in name for name in moved) == (statistics == "own")


def test_a_steps_gradients_are_no_longer_than_allowed(monkeypatch):
    norms = []
    step = torch.optim.SGD.step

    def watched(self, *given, **named):
        gradients = [one.grad for group in self.param_groups for one in group["params"] if one.grad is not None]
        norms.append(float(torch.cat([one.flatten() for one in gradients]).norm()))
        return step(self, *given, **named)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    for clip in (0.0, 0.01):
        learnt_with(dataclasses.replace(RECIPE, clip=clip))
    free, clipped = norms[: len(norms) // 2], norms[len(norms) // 2 :]
    assert min(free) > 0.01
    assert max(clipped) <= 0.01 * (1 + 1e-4)


def test_a_loss_that_is_no_number_is_one_line(usual):
    task = task_of()
    with torch.no_grad():
        task.bank["one"].head.bias[0] = float("nan")
    with pytest.raises(AdaptError, match=r"the loss is nan in epoch 1: the rate 0\.05 may be too high"):
        train(task, RECIPE)
    recipe = dataclasses.replace(RECIPE, rate=1e30, clip=0.0, warm_up=0.0, epochs=9, patience=9)
    with pytest.raises(AdaptError, match=r"the loss is (nan|inf) in epoch \d: the rate 1e\+30 may be too high"):
        learnt_with(recipe)


# --- when it stops


class Scripted(DomainTask):
    """Judged as a list says, and counted."""

    def judge(self):
        self.states = [*getattr(self, "states", []), state_of(self.bank["one"])]
        return Score(self.losses[len(self.states) - 1], {"accuracy": 0.5})


@pytest.mark.parametrize(
    ("losses", "epochs", "best"),
    [
        ([9, 8, 7, 6, 5], 4, 4),  # better and better
        ([5, 6, 7], 2, 0),  # never: it stays as it began
        ([5, 4, 6, 6], 3, 1),
        ([5, 4, 4, 4], 3, 1),  # as good is not better
        ([5, 6, 4, 5, 3], 4, 4),
    ],
)
def test_it_ends_without_patience_and_leaves_the_best_epoch(losses, epochs, best):
    recipe = dataclasses.replace(RECIPE, epochs=4, patience=2)
    task = Scripted(bank_of(one=Plan()), "one", some_photos(), TRAIN[:6], HELD, recipe)
    task.losses = losses
    training = train(task, recipe)
    assert (training.epochs, training.best, training.held.loss) == (epochs, best, losses[best])
    assert same(state_of(task.bank["one"]), task.states[best])
    assert [record["held"]["loss"] for record in training.history] == losses[1 : epochs + 1]


def test_only_held_photos_say_when_to_stop(usual, monkeypatch):
    """Photos on neither side have no part in anything."""
    photos = some_photos(36)
    rows, judged = np.arange(18), np.arange(18, 24)
    spoilt = dataclasses.replace(photos, pixels=photos.pixels.copy(), labels=photos.labels.copy())
    spoilt.pixels[24:], spoilt.labels[24:] = 0, 0
    looked = set()
    centres = type(photos).centres
    monkeypatch.setattr(type(photos), "centres", lambda self, rows: looked.update(rows.tolist()) or centres(self, rows))
    states = [learnt_with(photos=one, train=rows, held=judged)[0] for one in (photos, spoilt)]
    assert same(*states)
    assert looked == set(judged.tolist())


def test_no_epoch_leaves_all_as_it_was():
    recipe = dataclasses.replace(RECIPE, epochs=0)
    task = task_of(recipe=recipe)
    before = state_of(task.bank)
    training = train(task, recipe)
    assert (training.epochs, training.best, training.history) == (0, 0, ())
    assert same(state_of(task.bank), before)


# --- several domains


def test_by_turns_every_domain_learns_from_its_own_photos():
    bank = bank_of(one=Plan(), two=Plan("norms"))
    before = {name: state_of(bank[name]) for name in bank.names}
    tasks = [
        task_of(bank, name="one", train=TRAIN[:12], held=HELD[:0]),
        task_of(bank, name="two", photos=some_photos(seed=1), held=HELD[:0]),
    ]
    joint = RoundRobin(tasks)
    assert [joint.batch(0, step).domain for step in range(joint.steps)] == ["one", "two", "one", "two", "two"]
    training = train(joint, RECIPE)
    assert training.epochs == 2
    assert all(not same(state_of(bank[name]), state) for name, state in before.items())


def test_domains_that_share_nothing_come_out_as_if_trained_alone():
    """With a rate that does not depend on how far an epoch has come."""
    recipe = Recipe(
        epochs=2, batch=9, norm_rate=1.0, head_rate=1.0, optimiser="sgd", rate=0.05, schedule="constant", warm_up=0.0
    )
    photos = {"one": some_photos(seed=0), "two": some_photos(seed=1)}
    bank = bank_of(one=Plan(), two=Plan())
    held = HELD[:0]
    train(RoundRobin([task_of(bank, recipe, name, photos[name], held=held) for name in photos]), recipe)
    for name in photos:
        alone = bank_of(one=Plan(), two=Plan())
        train(task_of(alone, recipe, name, photos[name], held=held), recipe)
        assert same(state_of(alone[name]), state_of(bank[name]))


def shared_bank():
    bank = bank_of(one=Plan(), two=Plan())
    for seed, name in enumerate(bank.names):
        shaken(bank[name], by=0.05, seed=seed)
    for name, domain in compressed({name: bank[name] for name in bank.names}).items():
        bank.put(name, domain)
    return bank


def test_a_shared_factor_is_trained_once_by_all_who_share_it():
    bank = shared_bank()
    betas = [one.map.beta for one in bank["one"].adapters.values()]
    before = [beta.clone() for beta in betas]
    joint = RoundRobin([task_of(bank, name=name, held=HELD[:0]) for name in bank.names])
    trained = [id(one) for group in joint.groups() for one in group["params"]]
    assert len(trained) == len(set(trained))
    assert {id(beta) for beta in betas} <= set(trained)
    train(joint, RECIPE)
    assert all(not torch.equal(beta, old) for beta, old in zip(betas, before, strict=True))
    assert all(one.map.beta is bank["two"].adapters[site].map.beta for site, one in bank["one"].adapters.items())


def test_a_later_domain_changes_its_own_factor_alone():
    bank = shared_bank()
    bank.put("later", new_domain_like(bank["one"], ("apple", "leaf", "sea"), bank.source_norms))
    torch.manual_seed(0)
    nn.init.normal_(bank["later"].head.weight, std=0.1)
    others = {name: state_of(bank[name]) for name in ("one", "two")}
    before = state_of(bank["later"])
    train(task_of(bank, name="later", held=HELD[:0]), RECIPE)
    assert all(same(state_of(bank[name]), state) for name, state in others.items())
    for name, tensor in state_of(bank["later"]).items():
        if name.startswith("_adapters"):
            assert torch.equal(tensor, before[name]) == ("beta" in name)


# --- killed, and gone on with


def train_and_stay(path, steps, recipe, answer):
    """Writes a checkpoint at each step, and stays after some of them."""
    torch.set_num_threads(1)
    loop.EVERY = -1.0
    write, done = checkpoint.write, 0

    def counted(*given):
        nonlocal done
        write(*given)
        done += 1
        if done == steps:
            answer.send("here")
            answer.recv()

    checkpoint.write = counted
    learnt_with(recipe, path)


@pytest.mark.parametrize(
    ("steps", "recipe"),
    [(2, RECIPE), (4, dataclasses.replace(RECIPE, dropout=0.3)), (6, dataclasses.replace(RECIPE, optimiser="adamw"))],
    ids=["in the first epoch", "between two", "in the second"],
)
def test_killed_in_an_epoch_and_gone_on_with_it_comes_out_the_same(tmp_path, steps, recipe):
    path = tmp_path / "training" / "x.safetensors"
    child = Child(train_and_stay, path, steps, recipe)
    assert child.pipe.recv() == "here"
    child.kill()
    found = checkpoint.read(path)
    assert (found.epoch, found.step) == {2: (0, 2), 4: (1, 0), 6: (1, 2)}[steps]
    state, training = learnt_with(recipe)
    again, training_again = learnt_with(recipe, path)
    assert same(state, again)
    assert training_again == dataclasses.replace(training, checkpoint=path)
    assert path.exists()  # its owner deletes it
    assert same(state, learnt_with(recipe, path)[0])  # nothing is left to do


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    learnt_with(checkpoint=tmp_path / "x", held=HELD[:0])
    with pytest.raises(AdaptError, match="x is of another training: delete it to begin anew"):
        learnt_with(checkpoint=tmp_path / "x", method="norms")
    (tmp_path / "y").write_text("not a checkpoint")
    with pytest.raises(AdaptError, match="y is no checkpoint of a training: delete it to begin anew"):
        learnt_with(checkpoint=tmp_path / "y")
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:-1])
    with pytest.raises(AdaptError, match="x is no checkpoint of a training"):
        learnt_with(checkpoint=tmp_path / "x")


def test_a_checkpoint_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AdaptError, match=r"the checkpoint .*file/x cannot be written: "):
        learnt_with(checkpoint=tmp_path / "file" / "x")


def test_a_folder_of_checkpoints_tells_trainings_apart(tmp_path, monkeypatch):
    def trained(photos, recipe, plan=PLAN):
        return adapt(bank_of(), [Course("one", photos, TRAIN, HELD)], plan, recipe, tmp_path)

    first = trained(some_photos(), RECIPE)
    others = [
        trained(some_photos(seed=1), RECIPE),
        trained(some_photos(), dataclasses.replace(RECIPE, epochs=1)),
        trained(some_photos(), RECIPE, Plan(statistics="own")),
    ]
    assert {one.checkpoint for one in [first, *others]} == set(tmp_path.iterdir())
    assert len({one.checkpoint for one in [first, *others]}) == 4

    def never(*given):
        raise AssertionError("nothing was left to train")

    monkeypatch.setattr(loop._Run, "train_step", never)
    assert trained(some_photos(), RECIPE) == first


# --- on several devices


def train_as_one_of_two(rank, port, statistics, answer):
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    state, training = learnt_with(dataclasses.replace(RECIPE, epochs=3, patience=2), statistics=statistics)
    answer.send(({name: tensor.numpy() for name, tensor in state.items()}, training.best))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("statistics", ["source", "own"])
def test_two_processes_share_each_batch_and_come_out_the_same(statistics):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    children = [Child(train_as_one_of_two, rank, port, statistics) for rank in (0, 1)]
    assert all(child.pipe.poll(60) for child in children)
    (one, best), (two, best_too) = (child.pipe.recv() for child in children)
    assert [child.end() for child in children] == [0, 0]
    assert best == best_too
    assert all(np.array_equal(numbers, two[name]) for name, numbers in one.items())
    if statistics == "source":
        alone, _ = learnt_with(dataclasses.replace(RECIPE, epochs=3, patience=2))
        for name, tensor in alone.items():
            np.testing.assert_allclose(one[name], tensor.numpy(), rtol=1e-3, atol=1e-4)
