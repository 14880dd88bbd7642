"""Gated transfer: gates at every place, an auxiliary classifier that only training knows, and two phases."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny import CLASSES, KINDS, SIZE, bank_of, card_of, distance, framed, same, shaken, some_photos, state_of, whole_of

from manyeyes.adapt.adapting import Course, adapt, open_bank
from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.compress import compressed
from manyeyes.adapt.domain_file import load_domains, save_domains
from manyeyes.adapt.fold import write_folded
from manyeyes.adapt.gated_transfer import first_phase, plan_of, published, recipe_for
from manyeyes.adapt.gating import Gating
from manyeyes.adapt.maps import LowRank
from manyeyes.adapt.plan import Plan, within_budget
from manyeyes.adapt.training.in_training import AuxiliaryHead, InTraining
from manyeyes.adapt.training.loop import train
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.adapt.training.start import fit_head
from manyeyes.adapt.training.task import DomainTask, log_probabilities
from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.card import Preprocessing
from manyeyes.backbones.nets.gated import POOLED
from manyeyes.backbones.nets.stages import find_stages
from manyeyes.backbones.nets.timm_net import TimmHeaded
from manyeyes.backbones.nets.whole import WholeNet
from manyeyes.backbones.timm_import import timm
from manyeyes.errors import AdaptError, CardError, ChoiceError, UnknownNameError

# Networks whose stages timm tells.
STAGED = tuple(kind for kind in KINDS if kind != "vgg")
PLACES = ("pooled", "map", "stages")
RECIPE = Recipe(epochs=3, batch=6, optimiser="sgd", rate=0.05, norm_rate=1.0, body_rate=1.0, head_rate=1.0)
TRAIN, HELD = np.arange(18), np.arange(18, 24)


def gated_bank(kind="resnet", method="norms", **gating) -> DomainBank:
    """A bank whose domain "one" has gates that do something."""
    bank = bank_of(kind, one=Plan(method, gating=Gating(**gating)))
    shake_gates(bank)
    return bank


def shake_gates(bank: DomainBank) -> None:
    with torch.no_grad():
        for gate in bank["one"].gates.values():
            for parameter in gate.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))


def task_of(bank: DomainBank, recipe: Recipe = RECIPE) -> DomainTask:
    return DomainTask(bank, "one", some_photos(), TRAIN, HELD, recipe)


# --- gates


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("kind", STAGED)
def test_a_gate_that_starts_at_identity_changes_nothing(kind, at):
    plain, bank = bank_of(kind, one=Plan("norms")), bank_of(kind, one=Plan("norms", gating=Gating(at)))
    assert torch.equal(bank.switch("one").features(framed()), plain.switch("one").features(framed()))
    assert set(bank["one"].gates) == {"pooled": {POOLED}, "map": {bank.stages[-1]}, "stages": set(bank.stages)}[at]


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("kind", STAGED)
def test_a_gate_weighs_what_lies_behind_it_by_what_is_seen(kind, at):
    bank = gated_bank(kind, at=at)
    free = bank.features(framed())
    weighed = bank.switch("one").features(framed())
    assert distance(weighed, free) > 0.01
    assert torch.equal(bank.switch(None).features(framed()), free)
    if at == "pooled":
        weights = bank["one"].gates[POOLED](free)
        assert torch.equal(weighed, free * weights)
        assert ((weights > 0) & (weights < 2)).all()
        assert (weights[0] != weights[1]).any()


@settings(deadline=None, max_examples=20)
@given(dimension=st.integers(1, 60), reduction=st.integers(1, 40), static=st.booleans(), bias=st.booleans())
def test_a_gate_comes_back_from_its_tensors(dimension, reduction, static, bias):
    gate = Gating(reduction=reduction, static=static, bias=bias, start="paper").gate(dimension).eval()
    x = torch.randn(4, dimension)
    again = type(gate).from_tensors(gate.state_dict()).eval()
    assert torch.equal(again(x), gate(x))
    assert ((gate(x) > 0) & (gate(x) < 1)).all()


def test_networks_whose_stages_nobody_tells_are_gated_at_their_features(monkeypatch):
    monkeypatch.setattr("manyeyes.adapt.bank.find_stages", lambda whole, size: {})
    assert set(gated_bank()["one"].gates) == {POOLED}
    with pytest.raises(AdaptError, match="the stages of this network are not known: let the gate weigh its pooled"):
        gated_bank(at="stages")


@pytest.mark.parametrize(
    "choices", [{"at": "everywhere"}, {"start": "ones"}, {"reduction": 0}, {"dropout": 1.0}, {"dropout": -0.1}]
)
def test_what_is_no_gate_is_one_line(choices):
    with pytest.raises(ChoiceError, match="a gate"):
        Gating(**choices)


# --- files and folded networks


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("method", ["full", "parallel", "series"])
def test_a_gated_domain_comes_back_bit_for_bit(at, method, tmp_path):
    bank = gated_bank(method=method, at=at)
    shaken(bank["one"], by=0.1)
    save_domains(bank, card_of(), "0" * 64, tmp_path / "domain.safetensors", {})
    again = bank_of()
    load_domains(tmp_path / "domain.safetensors", again)
    assert same(state_of(again["one"]), state_of(bank["one"]))
    assert torch.equal(again(framed(), "one"), bank(framed(), "one"))


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("method", ["full", "parallel"])
def test_a_folded_network_has_its_gates_and_can_be_gated_again(at, method, tmp_path):
    bank, card = gated_bank(method=method, at=at), card_of()
    shaken(bank["one"], by=0.1)
    made = write_folded(bank, "one", card, tmp_path / "made")
    adapted = bank.switch("one").features(framed())
    look = Backbone.load(made).embed(framed().numpy()).blocks[FINAL]
    assert distance(torch.from_numpy(look), adapted) < 1e-5

    second, sized = open_bank(made)
    second.eval()
    second.put_new("one", CLASSES, Plan("norms", gating=Gating(at)))
    assert distance(second.switch("one").features(framed()), adapted) < 1e-5
    shake_gates(second)
    twice = write_folded(second, "one", sized, tmp_path / "twice")
    seen = second.switch("one").features(framed())
    assert distance(seen, adapted) > 0.01
    assert distance(torch.from_numpy(Backbone.load(twice).embed(framed().numpy()).blocks[FINAL]), seen) < 1e-5


def without_a_gate(state: dict) -> dict:
    return {name: tensor for name, tensor in state.items() if not name.startswith("gates.")}


@pytest.mark.parametrize(
    ("place", "dimension", "words"),
    [
        ("model/nowhere", 96, "a feature gate is for another network"),
        ("keys", 96, "a feature gate is for another network"),
        ("pooled", 50, "a feature gate is for another network"),
        ("model/layer4", 50, "a feature gate is for another network"),
        ("pooled", None, "no feature gate can be read from the weights"),
    ],
)
def test_weights_with_a_gate_for_another_network_are_one_line(place, dimension, words, tmp_path):
    made = write_folded(gated_bank(), "one", card_of(), tmp_path / "made")
    file = tmp_path / "made" / "weights.safetensors"
    gate = {"layers.0.weight": torch.zeros(2)} if dimension is None else Gating().gate(dimension).state_dict()
    forged = {f"gates.{place}.{name}": tensor for name, tensor in gate.items()}
    save_file(without_a_gate(load_file(file)) | forged, file)
    with pytest.raises(CardError, match=words):
        Backbone.load(dataclasses.replace(made, sha256=None, name="forged"))


def test_gates_behind_gates_without_end_are_one_line(tmp_path):
    made = write_folded(gated_bank(), "one", card_of(), tmp_path / "made")
    state = load_file(tmp_path / "made" / "weights.safetensors")
    gate = {name: tensor for name, tensor in state.items() if name.startswith("gates.")}
    for _ in range(400):
        state = {f"inner.{name}": tensor for name, tensor in state.items()} | gate
    save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "made" / "weights.safetensors")
    with pytest.raises(CardError, match="more than 8 gates behind each other are none of ours"):
        Backbone.load(dataclasses.replace(made, sha256=None, name="forged"))


def test_a_body_in_another_precision_is_used_in_the_backbones(tmp_path):
    bank = gated_bank(method="full")
    bank["one"]._body.half()
    save_domains(bank, card_of(), "0" * 64, tmp_path / "domain.safetensors", {})
    again = bank_of()
    load_domains(tmp_path / "domain.safetensors", again)
    assert again(framed(), "one").dtype == torch.float32


# --- the whole network as a domain


def test_a_domain_with_weights_of_its_own_leaves_the_backbone_as_it_was():
    bank = bank_of(one=Plan("full"), two=Plan("parallel"))
    source, before = state_of(bank.network), bank.features(framed())
    assert torch.equal(bank.switch("one").features(framed()), before)
    train(task_of(bank), RECIPE)
    assert distance(bank.switch("one").features(framed()), before) > 0.01
    assert torch.equal(bank.switch("two").features(framed()), before)
    assert torch.equal(bank.switch(None).features(framed()), before)
    assert same(state_of(bank.network), source)
    head = sum(one.numel() for one in bank.network.model.fc.parameters()) if hasattr(bank.network.model, "fc") else 0
    assert bank.domain_size("one") == bank.backbone_size() - head


def test_moving_a_bank_moves_the_backbone_that_is_not_in_use():
    bank = bank_of(one=Plan("full"))
    before = bank.features(framed())
    bank.switch("one").double().float()
    assert bank.active == "one"
    assert torch.equal(bank.switch(None).features(framed()), before)
    bank.switch("one").double()
    bank.switch(None)
    assert {one.dtype for one in bank.network.parameters()} == {torch.float64}


# --- the auxiliary classifier


@pytest.mark.parametrize("kind", KINDS)
def test_an_auxiliary_classifier_sees_the_penultimate_stage(kind):
    bank = bank_of(kind, one=Plan("norms"))
    head = AuxiliaryHead.of(bank, 3)
    said = InTraining(bank, {"one": head})(framed(5), "one")
    assert said.logits.shape == said.auxiliary.shape == (5, 3)
    assert head.head.bias is None
    assert said.weights is None
    if kind in STAGED:
        assert head.stage == bank.stages[-2]
    if kind == "vit":  # a quarter of the blocks follows
        blocks = len(bank.network.model.blocks)
        assert head.stage == f"model.blocks.{round(0.75 * blocks) - 1}"


def test_nobody_asks_it_outside_training_and_no_file_has_it():
    recipe = dataclasses.replace(RECIPE, auxiliary=0.2)
    plain, bank = bank_of(one=Plan("full")), bank_of(one=Plan("full"))
    task = task_of(bank, recipe)
    assert torch.equal(bank(framed(), "one"), plain(framed(), "one"))
    train(task, recipe)
    before = log_probabilities(bank, "one", some_photos(), HELD)
    with torch.no_grad():
        task.auxiliaries["one"].head.weight.fill_(float("nan"))
    assert torch.equal(log_probabilities(bank, "one", some_photos(), HELD), before)
    assert bank["one"].state_dict().keys() == plain["one"].state_dict().keys()


def test_its_loss_counts_as_much_as_it_is_told():
    losses = []
    for auxiliary in (0.0, 0.2, 0.4):
        bank = bank_of(one=Plan("full"))
        task = task_of(bank, dataclasses.replace(RECIPE, auxiliary=auxiliary))
        loss, _ = task.loss(task.module, task.batch(0, 0))
        losses.append(float(loss))
    assert losses[1] - losses[0] == pytest.approx(losses[2] - losses[1], rel=1e-4)
    assert losses[1] > losses[0]


def test_what_weights_cost_turns_them_down():
    means = []
    for sparsity in (0.0, 20.0):
        bank = bank_of(one=Plan("full", gating=Gating(start="paper")))
        recipe = dataclasses.replace(RECIPE, epochs=6, sparsity=sparsity)
        train(DomainTask(bank, "one", some_photos(), TRAIN, HELD[:0], recipe), recipe)
        with torch.no_grad():
            means.append(float(bank["one"].gates[POOLED](bank.switch(None).features(framed())).mean()))
    assert means[1] < means[0] - 0.02


# --- phases


def test_with_an_identity_start_and_no_auxiliary_the_first_step_is_that_of_fine_tuning():
    """And while the gate stays at one, so is every other."""
    states = []
    for gating in (None, Gating(dropout=0.0)):
        bank = bank_of(one=Plan("full", gating=gating))
        recipe = dataclasses.replace(RECIPE, gate_rate=0.0, clip=0.0)
        fit_head(bank, "one", some_photos(), TRAIN)
        train(task_of(bank, recipe), recipe)
        states.append(state_of(bank["one"]))
    plain, with_gate = states
    assert all(torch.equal(tensor, with_gate[name]) for name, tensor in plain.items())


@pytest.mark.parametrize("method", ["full", "parallel", "series"])
@pytest.mark.parametrize("statistics", ["source", "own"])
def test_what_is_frozen_stays_as_it_is_bit_for_bit(method, statistics):
    plan = Plan(method, statistics=statistics, gating=Gating())
    bank = bank_of(one=plan)
    parts = ("_adapters", "_norms", "_body")

    def backbone():
        return {name: one for name, one in state_of(bank["one"]).items() if name.startswith(parts)}

    before, new = backbone(), state_of(bank["one"])
    recipe = dataclasses.replace(RECIPE, epochs=2, frozen=2, auxiliary=0.2)
    task = DomainTask(bank, "one", some_photos(), TRAIN, HELD[:0], recipe)
    train(task, recipe)
    assert same(backbone(), before)
    assert not torch.equal(bank["one"].head.weight, new["head.weight"])
    assert not torch.equal(bank["one"].gates[POOLED].layers[3].weight, new["_gates.pooled.layers.3.weight"])

    more = dataclasses.replace(recipe, epochs=1, frozen=0)
    train(DomainTask(bank, "one", some_photos(), TRAIN, HELD[:0], more), more)
    after = backbone()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert {name for name in moved if "running" not in name}
    assert bool([name for name in moved if "_norms" in name and "running" in name]) == (statistics == "own")


def test_a_run_that_is_killed_in_either_phase_comes_out_the_same(tmp_path, monkeypatch):
    recipe = dataclasses.replace(RECIPE, epochs=4, frozen=2, auxiliary=0.2, sparsity=0.1)

    def run(path, steps=None):
        bank = bank_of(one=Plan("full", statistics="own", gating=Gating()))
        task = task_of(bank, recipe)
        if steps is not None:
            asked = []
            usual = task.batch

            def batch(epoch, step):
                asked.append(step)
                if len(asked) > steps:
                    raise KeyboardInterrupt
                return usual(epoch, step)

            task.batch = batch
        train(task, recipe, path)
        return state_of(bank["one"])

    monkeypatch.setattr("manyeyes.adapt.training.loop.EVERY", 0.0)
    whole = run(None)
    for steps in (2, 7, 10):
        path = tmp_path / f"{steps}.safetensors"
        with pytest.raises(KeyboardInterrupt):
            run(path, steps)
        assert same(run(path), whole)


def test_patience_does_not_end_a_run_before_all_is_trained():
    recipe = dataclasses.replace(RECIPE, epochs=8, frozen=4, patience=1, rate=1e-9)
    assert train(task_of(bank_of(one=Plan("full"))), recipe).epochs >= 4


def test_the_faithful_recipe_trains_with_the_quirks_of_the_published_code():
    plan, recipe = published()
    bank = bank_of(one=plan)
    domain = bank["one"]
    task = DomainTask(bank, "one", some_photos(), TRAIN, HELD[:0], dataclasses.replace(recipe, batch=9))
    assert len(TRAIN) // 9 == task.steps == 2
    # Trace the optimiser: the rate of each group in each epoch, and what the backbone's momentum is.
    rates: dict[int, dict[str, set[float]]] = {}
    state: dict[int, dict[str, torch.Tensor]] = {}
    original = torch.optim.SGD.step

    def step(optimiser, *args, **kwargs):
        epoch = len(steps) // 2
        steps.append(epoch)
        for group, role in zip(optimiser.param_groups, ("norms", "body", "gates", "head"), strict=True):
            rates.setdefault(epoch, {}).setdefault(role, set()).add(round(group["lr"], 12))
            assert not group["nesterov"]
            assert group["weight_decay"] == 1e-4
        result = original(optimiser, *args, **kwargs)
        if epoch in (0, 20, 21):
            state[epoch] = state_of(domain)
            body = optimiser.param_groups[1]["params"][0]
            assert float(optimiser.state[body]["momentum_buffer"].abs().max()) > 0
        return result

    steps: list[int] = []
    before = state_of(domain)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", step)
        train(task, dataclasses.replace(recipe, batch=9))
    assert len(steps) == 200
    for epoch in range(100):
        published_rate = round(0.01 * 0.1 ** max(0, (epoch - 1) // 40), 12)
        for role in ("gates", "head"):  # declared ten times as high, and overwritten
            assert rates[epoch][role] == {published_rate}
        for role in ("norms", "body"):
            assert rates[epoch][role] == {0.0 if epoch <= 20 else published_rate}
    body = next(name for name in before if name.startswith("_body"))
    mean = next(name for name in before if name.endswith("running_mean"))
    assert torch.equal(state[20][body], before[body])
    assert not torch.equal(state[20][mean], before[mean])  # the drift of the statistics
    assert not torch.equal(state[21][body], before[body])
    assert not domain.head.bias.any()


def test_a_run_that_is_stopped_leaves_nothing_frozen():
    bank = bank_of(one=Plan("full", statistics="own"))
    recipe = dataclasses.replace(RECIPE, frozen=2)
    task = task_of(bank, recipe)

    def batch(epoch, step):
        raise KeyboardInterrupt

    task.batch = batch
    with pytest.raises(KeyboardInterrupt):
        train(task, recipe)
    again = task_of(bank)
    assert len(again.groups()) == 3  # norms, body and head
    assert bank.train()["one"].norms.popitem()[1].training


def test_what_domains_share_stays_shared_and_as_it_is():
    bank = DomainBank(whole_of("resnet"), SIZE)
    course = Course("three", some_photos(), TRAIN, HELD)
    for name in ("one", "two"):
        bank.put_new(name, CLASSES, Plan("lowrank"))
    for name, domain in compressed({name: bank[name] for name in bank.names}).items():
        bank.put(name, domain)
    recipe = dataclasses.replace(RECIPE, epochs=2, frozen=1)
    states = []
    for seed in (0, 1):  # what came before in this process decides nothing
        torch.manual_seed(seed)
        adapt(bank, [course], Plan("lowrank", gating=Gating(start="paper")), recipe)
        states.append(state_of(bank["three"]))
        shared = [adapter.map.beta for adapter in bank["three"].adapters.values() if isinstance(adapter.map, LowRank)]
        assert shared and not any(beta.requires_grad for beta in shared)
    assert same(*states)
    assert POOLED in bank["three"].gates
    for plan in (plan_of("gated"), published()[0]):
        with pytest.raises(AdaptError, match="these domains share a factor of their adapters"):
            adapt(bank, [course], plan, recipe)


def test_a_budget_counts_gates():
    bank = bank_of()
    plan = Plan("lowrank", gating=Gating())
    others = bank.norms_size() + plan.gates_size(bank.dimensions)
    plan = within_budget(plan, bank.sites, 1.2, bank.backbone_size(), others)
    bank.put_new("one", CLASSES, plan)
    assert 1.15 < bank.multiple() <= 1.2


@pytest.mark.parametrize("words", ["parallel+gated", "gated", "full", "norms+gated", "full+gated"])
def test_methods_have_the_names_of_their_parts(words):
    plan = plan_of(words, statistics="own")
    assert (plan.gating is not None) == ("gated" in words)
    assert plan.method == {"gated": "full"}.get(words, words.removesuffix("+gated"))
    assert plan.statistics == "own"


@pytest.mark.parametrize("words", ["gated+parallel", "gated+gated", "parallel+", "parallel+full", "+gated", ""])
def test_other_names_are_told_of(words):
    with pytest.raises(UnknownNameError, match="is no method of adapting: choose from parallel"):
        plan_of(words)


@pytest.mark.parametrize("name", ["hrnet_w18_small", "pit_ti_224", "densenet121", "repvgg_a0"])
def test_networks_of_which_timm_tells_otherwise_can_be_adapted(name):
    model = timm.create_model(name, pretrained=False, num_classes=0)
    size = 224 if name.startswith("pit") else 64
    whole = WholeNet(TimmHeaded(model, has_head=False), Preprocessing(size=size)).eval()
    stages = tuple(find_stages(whole, size))
    assert stages[-2:] == {
        "densenet121": ("model.features.denseblock3", "model.features.denseblock4"),
        "repvgg_a0": ("model.stages.2", "model.final_conv"),
    }.get(name, ())
    DomainBank(whole, size)


def test_gated_transfer_learns():
    bank = bank_of()
    recipe = recipe_for(plan_all(), dataclasses.replace(RECIPE, epochs=8, rate=0.02))
    recipe = dataclasses.replace(recipe, frozen=first_phase(8), auxiliary=0.2)
    training = adapt(bank, [Course("one", some_photos(48), np.arange(36), np.arange(36, 48))], plan_all(), recipe)
    assert training.held.accuracy > 0.9


def plan_all() -> Plan:
    return Plan("parallel", gating=Gating("stages"))
