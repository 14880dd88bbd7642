"""Adapters, heads and gate trained at once: the mixture of the papers, and the same one after folding."""

import json

import numpy as np
import pytest
import torch
from small_world import write_local
from tiny import bank_of, framed, shaken, some_photos

from manyeyes import ManyEyesClassifier
from manyeyes.adapt import joint, zoo
from manyeyes.adapt.joint import DOMAIN, JointMixture, JointTask
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.training.loop import train
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.features.table import FeatureTable
from manyeyes.gates import GATES
from manyeyes.images import RejectedPhotoWarning


def two_banks(shake=True):
    banks = [bank_of(kind, **{DOMAIN: Plan("parallel")}).switch(DOMAIN) for kind in ("resnet", "convnext")]
    for bank in banks:
        if shake:
            shaken(bank[DOMAIN])
    return banks


def gate_for(banks, kind="embedding", count=3):
    table = FeatureTable({str(k): np.zeros((count, bank.dimension), np.float32) for k, bank in enumerate(banks)})
    return GATES[kind].for_table(table), table


def task_of(banks, kind="embedding"):
    photos = some_photos()
    gate, table = gate_for(banks, kind, len(photos))
    rows = np.arange(18), np.arange(18, 24)
    return JointTask(banks, [photos] * 2, gate, gate.look(table), torch.ones(3), rows, Recipe(epochs=2, batch=6))


def test_with_nothing_learnt_by_the_gate_the_whole_is_the_mean_of_the_experts():
    banks = two_banks()
    gate, table = gate_for(banks, "uniform")
    mixed = JointMixture(banks, gate).eval()(framed(), framed(), gate.look(table))
    alone = [torch.softmax(bank(framed(), DOMAIN), dim=1) for bank in banks]
    torch.testing.assert_close(mixed.exp(), torch.stack(alone).mean(dim=0))


def test_a_gate_that_sees_features_sees_those_of_the_adapted_backbones():
    banks = two_banks()
    gate, table = gate_for(banks)
    shaken(gate)
    whole = JointMixture(banks, gate)
    nonsense = torch.full_like(gate.look(table), 7.0)
    mixed = whole(framed(), framed(), gate.look(table))
    torch.testing.assert_close(whole(framed(), framed(), nonsense), mixed)
    seen = FeatureTable({str(k): bank.features(framed()).detach().numpy() for k, bank in enumerate(banks)})
    torch.testing.assert_close(whole.gate(gate.look(seen)), torch.log_softmax(gate.logits(gate.look(seen)), dim=1))
    (-mixed[:, 0]).mean().backward()
    adapters = [one for one in banks[0][DOMAIN].role_parameters()["adapters"] if one.grad is not None]
    assert any(one.grad.abs().sum() > 0 for one in adapters)


def test_order_of_the_banks_decides_nothing():
    banks = two_banks()
    gate, table = gate_for(banks, "uniform")
    turned, _ = gate_for(banks[::-1], "uniform")
    one = JointMixture(banks, gate)(framed(), framed(), gate.look(table))
    other = JointMixture(banks[::-1], turned)(framed(), framed(), gate.look(table))
    torch.testing.assert_close(one, other)


def test_training_lowers_the_loss_on_photos_held_out_and_leaves_the_backbones():
    banks = two_banks(shake=False)
    with banks[0].using(None):
        before = {name: tensor.clone() for name, tensor in banks[0].network.state_dict().items()}
    task = task_of(banks)
    start = task.judge()
    done = train(task, Recipe(epochs=4, batch=6))
    assert done.held.loss < start.loss
    with banks[0].using(None):
        after = banks[0].network.state_dict()
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_classes_count_what_they_weigh():
    task = task_of(two_banks())
    batch = task.batch(0, 0)
    loss, _ = task.loss(task.module.eval(), batch)
    task._weights = torch.tensor([2.0, 2.0, 2.0])
    torch.testing.assert_close(task.loss(task.module, batch)[0], loss)  # a mean: only what differs matters
    task._weights = torch.tensor([1e6, 1.0, 1.0])
    weighed, _ = task.loss(task.module, batch)
    assert weighed != loss


def test_the_uniform_gate_has_nothing_to_train():
    banks = two_banks()
    with_gate, without = task_of(banks, "embedding").groups(), task_of(banks, "uniform").groups()
    assert len(with_gate) == len(without) + 1
    assert all(group["params"] for group in without)


# --- from photos to a model


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(zoo, "LEAST_STEPS", 1)


@pytest.fixture
def model(world, fast):
    return ManyEyesClassifier(
        zoo=world.zoo.rpartition(",")[2],
        fusion="mixture",
        gate="cnn32",
        training="joint",
        adapt="parallel",
        adapt_size=32,
        adapt_epochs=2,
        engine="torch",
        precision="fp32",
    )


@pytest.fixture
def other_net(tmp_path) -> str:
    """A second net, which looks at photos of another size."""
    folder = write_local(tmp_path / "other")
    card = json.loads((folder / "card.json").read_text())
    card |= {"name": "other", "preprocessing": card["preprocessing"] | {"crop": 0.8}}
    (folder / "card.json").write_text(json.dumps(card))
    return f"local:{folder}"


@pytest.mark.parametrize("gate", ["embedding", "cnn32"])
def test_the_folded_mixture_says_what_was_trained(world, model, other_net, gate, monkeypatch, tmp_path):
    tasks = []
    begin = joint._begin

    def watched(*given):
        tasks.append(begin(*given))
        with torch.no_grad():  # training would hardly move it, and two experts in the wrong order not show
            for parameter in tasks[-1].gate.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        return tasks[-1]

    monkeypatch.setattr(joint, "_begin", watched)
    labels = ["apple" if label == "apple" else "other" for label in world.labels]
    model.set_params(zoo=f"{other_net},{model.zoo}", gate=gate, class_weight="balanced").fit(world.paths, labels)
    (task,) = tasks
    with torch.inference_mode():
        every = np.arange(len(world.paths))
        seen = task.module.eval()(*(photos.centres(every) for photos in task._photos), task._seen)
    table = model.look(world.paths).table
    said = model.fusion_._log_proba(table)
    np.testing.assert_allclose(said, seen.numpy(), atol=1e-3)
    assert model.gate_weights(world.paths).std(axis=0).min() > 0.01
    assert table.names == ("other-adapted", "tiny-adapted")
    held, accuracy = model.facts_["held"]
    assert held == len(task.held) > 0
    assert accuracy == task.judge().accuracy
    assert model.was_trained_on(model.look(world.paths)).all()
    model.save(tmp_path / "model")
    again = ManyEyesClassifier.load(tmp_path / "model", engine="torch")
    np.testing.assert_array_equal(again.predict_proba(world.paths), model.predict_proba(world.paths))


def test_the_same_photos_and_choices_are_not_trained_on_twice(world, model, monkeypatch):
    before = model.fit(world.paths, world.labels).predict_proba(world.paths)
    monkeypatch.setattr(JointTask, "batch", lambda *_: pytest.fail("trained again"))
    after = model.fit(world.paths, world.labels).predict_proba(world.paths)
    np.testing.assert_array_equal(after, before)


def test_a_run_that_was_stopped_goes_on_and_comes_out_the_same(world, model, tmp_path, monkeypatch):
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "whole"))
    expected = model.fit(world.paths, world.labels).predict_proba(world.paths)
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "stopped"))
    begun: list[tuple[int, int]] = []
    batch = JointTask.batch

    def stopping(task, epoch, step):
        if epoch == 1 and not begun:
            begun.append((epoch, step))
            raise KeyboardInterrupt
        return batch(task, epoch, step)

    monkeypatch.setattr(JointTask, "batch", stopping)
    with pytest.raises(KeyboardInterrupt):
        model.fit(world.paths, world.labels)
    seen: list[int] = []
    monkeypatch.setattr(JointTask, "batch", lambda task, epoch, step: seen.append(epoch) or batch(task, epoch, step))
    np.testing.assert_array_equal(model.fit(world.paths, world.labels).predict_proba(world.paths), expected)
    assert set(seen) == {1}  # the first epoch is not trained again


def test_a_class_of_which_nothing_can_be_read_is_not_learnt(world, model, tmp_path):
    (tmp_path / "none.png").write_text("no photo")
    with pytest.warns(RejectedPhotoWarning) as warned:
        model.fit([*world.paths, str(tmp_path / "none.png")], [*world.labels, "cloud"])
    assert [str(one.message)[:20] for one in warned] == ["1 photos could not b", "no photo of cloud co"]
    assert model.classes_.tolist() == ["apple", "leaf", "sea"]
    assert [one.path for one in model.rejected_] == [str(tmp_path / "none.png")]
    assert model.predict_proba(world.paths).shape == (36, 3)
