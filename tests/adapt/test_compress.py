"""Domains that share a factor of their adapters."""

import pytest
import torch
from tiny import bank_of, distance, framed, same, shaken, state_of

from manyeyes.adapt.compress import compressed, new_domain_like
from manyeyes.adapt.maps import Full, LowRank
from manyeyes.adapt.plan import Plan
from manyeyes.errors import AdaptError


def learnt(kind, *plans):
    bank = bank_of(kind, **{f"domain {number}": plan for number, plan in enumerate(plans)})
    for number, name in enumerate(bank.names):
        shaken(bank[name], by=0.1, seed=number)
    return bank


def compress(bank, keep):
    for name, domain in compressed({name: bank[name] for name in bank.names}, keep).items():
        bank.put(name, domain)


def seen(bank):
    return {name: bank(framed(), name) for name in bank.names}


@pytest.mark.parametrize("method", ["parallel", "series", "lowrank", "norms"])
@pytest.mark.parametrize("kind", ["resnet", "efficientnet-same", "vit", "grouped"])
def test_with_everything_kept_domains_see_what_they_saw(kind, method):
    bank = learnt(kind, *[Plan(method, (3, 3, 3))] * 3)
    before = seen(bank)
    compress(bank, 3.0)
    assert all(distance(after, before[name]) < 1e-5 for name, after in seen(bank).items())


def test_factors_are_the_best_of_their_rank_and_one_is_shared():
    bank = learnt("resnet", Plan(), Plan())
    full = {name: {site: one.map.matrix() for site, one in bank[name].adapters.items()} for name in bank.names}
    own = {
        site: len(one.map.gamma) if isinstance(one.map, LowRank) else min(one.map.alpha.shape)
        for site, one in bank["domain 0"].adapters.items()
    }
    compress(bank, 0.25)
    one, two = (bank[name].adapters for name in bank.names)
    for site, adapter in one.items():
        assert len(adapter.map.gamma) == round(0.25 * own[site])
        assert adapter.map.beta is two[site].map.beta
        assert adapter.map.gamma is not two[site].map.gamma
        stacked = torch.cat([full[name][site] for name in bank.names], dim=1)
        kept = torch.cat([adapter.map.matrix(), two[site].map.matrix()], dim=1)
        lost = torch.linalg.svdvals(stacked)[len(adapter.map.gamma) :].square().sum().sqrt()
        torch.testing.assert_close((stacked - kept).norm(), lost, rtol=1e-4, atol=1e-5)


def test_what_was_compressed_is_a_copy():
    bank = learnt("resnet", Plan(), Plan())
    before = [state_of(bank[name]) for name in bank.names]
    compressed({name: bank[name] for name in bank.names}, 0.5)
    assert all(same(state_of(bank[name]), state) for name, state in zip(bank.names, before, strict=True))


def test_norms_heads_and_what_does_not_mix_channels_stay_as_they_are():
    bank = learnt("efficientnet", Plan(), Plan())
    before = {name: state_of(bank[name]) for name in bank.names}
    compress(bank, 0.5)
    for name, state in before.items():
        now = state_of(bank[name])
        kept = [key for key in state if not key.startswith("_adapters") or (key in now and "alpha" in key)]
        assert all(torch.equal(now[key], state[key]) for key in kept)
        assert sum("alpha" in key for key in kept) == 2
    grouped = learnt("grouped", Plan(), Plan())
    compress(grouped, 0.5)
    assert sum(isinstance(one.map, Full) for one in grouped[grouped.names[0]].adapters.values()) == 4


def test_a_later_domain_learns_its_own_factor_alone():
    bank = learnt("resnet", Plan(), Plan())
    source = bank.features(framed())
    compress(bank, 0.5)
    before = seen(bank)
    later = new_domain_like(bank["domain 0"], ("a", "b"), bank.source_norms)
    bank.put("later", later)
    assert torch.equal(bank.switch("later").features(framed()), source)
    parameters = [one for one in later.parameters() if one.requires_grad]
    torch.nn.init.normal_(later.head.weight)
    optimiser = torch.optim.SGD(parameters, 0.1)
    torch.nn.functional.cross_entropy(bank.train()(framed(), "later"), torch.tensor([0, 1, 0])).backward()
    optimiser.step()
    bank.eval()
    maps = [one.map for one in later.adapters.values()]
    assert all(map_.gamma.any() for map_ in maps)
    assert all(
        map_.beta is bank["domain 1"].adapters[site].map.beta for site, map_ in zip(later.adapters, maps, strict=True)
    )
    assert all(torch.equal(after, before[name]) for name, after in seen(bank).items() if name != "later")
    assert not torch.equal(bank.switch("later").features(framed()), source)


def test_domains_that_do_not_match_are_refused():
    bank = learnt("resnet", Plan(), Plan(ranks=(0, 8, 8)))
    domains = {name: bank[name] for name in bank.names}
    with pytest.raises(AdaptError, match="compressed together when all of them adapt the same layers"):
        compressed(domains)
    with pytest.raises(AdaptError, match="all of them adapt the same layers"):
        compressed({})
    for keep in (0, -1.0):
        with pytest.raises(AdaptError, match="keeps a share above 0"):
            compressed(domains, keep)
