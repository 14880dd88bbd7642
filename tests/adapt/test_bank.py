"""One backbone, many domains: what each adds, and that none of them touches what is not its own."""

import time

import pytest
import torch
from tiny import CLASSES, METHODS, bank_of, framed, same, shaken, state_of

from manyeyes.adapt.compress import compressed
from manyeyes.adapt.plan import Plan
from manyeyes.errors import AdaptError, UnknownNameError


def test_domains_see_with_their_own_eyes_and_the_backbone_with_its_own():
    bank = bank_of(one=Plan(), two=Plan("series"), three=Plan("norms"))
    before = bank.features(framed())
    for number, name in enumerate(bank.names):
        shaken(bank[name], seed=number)
    seen = {name: bank.switch(name).features(framed()) for name in (None, "one", "two", "three")}
    assert torch.equal(seen[None], before)
    again = {name: bank.switch(name).features(framed()) for name in ("three", None, "one", "two")}
    for name, features in seen.items():
        assert torch.equal(again[name], features)
        assert all(not torch.equal(features, other) for key, other in seen.items() if key != name)


def test_logits_are_the_head_of_the_features():
    bank = bank_of(one=Plan())
    shaken(bank["one"])
    torch.nn.init.normal_(bank["one"].head.weight)
    logits = bank(framed(), "one")
    assert bank.active == "one"
    assert torch.equal(logits, bank["one"].head(bank.features(framed())))
    assert torch.equal(logits, bank(framed()))
    assert bank["one"].classes == CLASSES


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("statistics", ["source", "own"])
def test_steps_of_one_domain_change_nothing_else(method, statistics):
    bank = bank_of(one=Plan(method, statistics=statistics), two=Plan(method))
    shaken(bank["two"])
    before, others = state_of(bank.network), state_of(bank["two"])
    seen = bank.features(framed())
    bank.train()
    optimiser = torch.optim.SGD([p for p in bank.parameters() if p.requires_grad], 0.1)
    for step in range(3):
        torch.nn.functional.cross_entropy(bank(framed(6, step), "one"), torch.tensor([0, 1, 2] * 2)).backward()
        optimiser.step()
        optimiser.zero_grad()
    bank.eval()
    moved = bank["one"].norms["model.bn1"].running_mean - bank.source_norms["model.bn1"].running_mean
    assert (moved.abs().max() > 0) == (statistics == "own")
    assert not torch.equal(bank.features(framed()), seen)
    assert torch.equal(bank.switch(None).features(framed()), seen)
    assert same(state_of(bank.network), before)
    assert same(state_of(bank["two"]), others)


def test_the_backbone_normalises_as_ever_while_a_bank_is_in_training():
    bank = bank_of(one=Plan(statistics="own"))
    seen = bank.features(framed())
    assert torch.equal(bank.train().features(framed()), seen)
    before = bank.switch("one").features(framed())
    assert not torch.equal(before, seen)
    assert torch.equal(bank.switch(None).features(framed()), seen)
    assert torch.equal(bank.eval().switch(None).features(framed()), seen)


def test_a_domain_that_takes_the_place_of_another_is_used_at_once():
    bank = bank_of(one=Plan(), two=Plan())
    shaken(bank["two"])
    bank.switch("one")
    bank.put("one", bank["two"])
    assert bank.names == ("one", "two")
    seen = bank.features(framed())
    assert torch.equal(bank.switch("two").features(framed()), seen)


def test_a_domain_is_in_use_for_the_time_of_a_block_whatever_happens_in_it():
    bank = bank_of(one=Plan(), two=Plan()).switch("one")
    with bank.using("two") as within:
        assert within.active == "two"
    with pytest.raises(ZeroDivisionError), bank.using(None):
        assert bank.active is None
        _ = 1 / 0
    assert bank.active == "one"


def test_switching_moves_no_numbers():
    bank = bank_of(one=Plan(), two=Plan())
    places = {name: tensor.data_ptr() for name, tensor in bank["one"].state_dict().items()}
    start = time.perf_counter()
    for _ in range(100):
        bank.switch("one").switch("two").switch(None)
    assert time.perf_counter() - start < 1
    assert {name: tensor.data_ptr() for name, tensor in bank["one"].state_dict().items()} == places


def test_parameters_are_counted_without_heads_and_shared_ones_once():
    bank = bank_of(one=Plan(), two=Plan())
    own = sum(p.numel() for role in ("adapters", "norms") for p in bank["one"].role_parameters()[role])
    assert bank.domain_size("one") == own == Plan().size(bank.sites) + bank.norms_size()
    assert bank.shared_size() == 0
    assert bank.multiple() == pytest.approx(1 + 2 * own / bank.backbone_size())
    for name, domain in compressed({name: bank[name] for name in bank.names}).items():
        bank.put(name, domain)
    betas = sum(adapter.map.beta.numel() for adapter in bank["one"].adapters.values())
    assert bank.shared_size() == betas
    both = bank.domain_size("one") + bank.domain_size("two") - betas
    assert bank.multiple() == pytest.approx(1 + both / bank.backbone_size())


def test_a_bank_of_no_domain_is_its_backbone():
    bank = bank_of()
    assert (bank.names, bank.active, bank.multiple(), bank.shared_size()) == ((), None, 1.0, 0)
    with pytest.raises(AdaptError, match="no domain is in use: name one"):
        bank(framed())


def test_an_unknown_domain_is_named_with_those_that_there_are():
    bank = bank_of()
    with pytest.raises(UnknownNameError, match="the bank has no domain 'roses': it has none yet"):
        bank.switch("roses")
    bank.put_new("flowers", CLASSES, Plan("norms"))
    for ask in (bank.switch, bank.__getitem__, lambda name: bank(framed(), name)):
        with pytest.raises(UnknownNameError, match="the bank has no domain 'roses': it has flowers"):
            ask("roses")
    assert bank.active is None


def test_a_domain_of_another_backbone_is_refused():
    bank, other = bank_of(), bank_of("efficientnet", one=Plan(), bare=Plan("norms"))
    with pytest.raises(AdaptError, match=r"made for another backbone: it adapts model\.\S+, which"):
        bank.put("one", other["one"])
    with pytest.raises(AdaptError, match="made for another backbone: its norms or its head do not fit"):
        bank.put("one", other["bare"])
    with pytest.raises(AdaptError, match="a domain wants a name"):
        bank.put("", bank_of(one=Plan())["one"])
    assert bank.names == ()
