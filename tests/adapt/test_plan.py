"""Plans: where adapters go, how large they are, and what is no plan."""

import json
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import KINDS, bank_of

from manyeyes.adapt.adapters import Behind, Beside, PatchesBeside
from manyeyes.adapt.maps import Full, LowRank, PerChannel
from manyeyes.adapt.plan import METHODS, Plan, ranks_of, within_budget
from manyeyes.adapt.sites import STAGES, Kind
from manyeyes.errors import AdaptError, ChoiceError

bank_for = cache(bank_of)


def adapters_by_kind(bank, plan):
    adapters = plan.adapters(bank.sites)
    return {site.kind: adapters[site.name] for site in bank.sites if site.name in adapters and site.groups != 2}


def test_each_kind_of_layer_gets_the_adapter_that_fits_it():
    nets = [bank_for("convnext"), bank_for("efficientnet")]
    parallel, series, low = (
        {kind: one for bank in nets for kind, one in adapters_by_kind(bank, Plan(method, (3, 3, 3))).items()}
        for method in ("parallel", "series", "lowrank")
    )
    assert all(isinstance(one, Behind) for one in series.values())
    assert isinstance(parallel[Kind.PATCHES], PatchesBeside)
    assert isinstance(low[Kind.PATCHES], PatchesBeside)
    assert isinstance(parallel[Kind.SPATIAL], Beside)
    for adapters in (parallel, series, low):
        assert isinstance(adapters[Kind.DEPTHWISE].map, PerChannel)
        assert isinstance(adapters[Kind.POINTWISE].map, LowRank)
        assert len(adapters[Kind.PATCHES].map.gamma) == 3
        assert isinstance(adapters[Kind.SPATIAL].map, LowRank if adapters is low else Full)
    assert Plan("norms").adapters(nets[0].sites) == {}


def test_groups_are_kept_apart_or_left_alone():
    sites = bank_for("grouped").sites
    grouped = {site.name: site for site in sites if site.groups == 2}
    assert len(grouped) == 4
    full = Plan().adapters(sites)
    assert all(full[name].map.alpha.shape == (site.into, site.out_of // 2) for name, site in grouped.items())
    assert not grouped.keys() & Plan("lowrank").adapters(sites).keys()
    assert not grouped.keys() & Plan(full=False).adapters(sites).keys()
    # Behind the layer its groups are one.
    assert all(Plan("series").adapters(sites)[name].map.alpha.shape[1] == site.into for name, site in grouped.items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_third_of_rank_0_has_no_adapters(kind, method):
    sites = bank_for(kind).sites
    adapted = Plan(method, (0, 2, 5)).adapters(sites)
    stages = {site.name: site.stage for site in sites}
    assert {stages[name] for name in adapted} == (set() if method in ("norms", "full") else {"mid", "late"})
    ranks = {stages[name]: len(one.map.gamma) for name, one in adapted.items() if isinstance(one.map, LowRank)}
    assert all(rank <= {"mid": 2, "late": 5}[stage] for stage, rank in ranks.items())
    # No rank is larger than a full map's.
    wide = Plan("lowrank", (10**6,) * 3).adapters(sites)
    assert all(len(one.map.gamma) <= len(one.map.beta) for one in wide.values() if isinstance(one.map, LowRank))


def test_a_plan_goes_through_json():
    plan = Plan("lowrank", (1, 0, 3), statistics="own", start="code", dropout=0.1)
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    for wrong in ({}, {"ranks": [1]}, {"ranks": 3}, plan.to_dict() | {"colour": 1}, plan.to_dict() | {"method": "x"}):
        with pytest.raises(AdaptError, match="not a plan of adapters"):
            Plan.from_dict(wrong)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"method": "beside"}, "'beside' is no method of adapting: choose from parallel, series, lowrank, norms"),
        ({"ranks": (1, 2)}, "ranks are three numbers of 0 or more"),
        ({"ranks": (1, 2, -1)}, "ranks are three numbers of 0 or more"),
        ({"dropout": 1.0}, "dropout is a share of 0 or more and below 1, not 1.0"),
        ({"statistics": "mine"}, "statistics are source or own, not 'mine'"),
        ({"start": "cold"}, "adapters start as zero or code, not as 'cold'"),
    ],
)
def test_what_is_no_plan_is_one_line(choices, words):
    with pytest.raises(ChoiceError, match=words):
        Plan(**choices)


def test_words_of_the_command_line_become_ranks():
    assert ranks_of("all") == (8, 8, 8)
    assert ranks_of("late", 4) == (0, 0, 4)
    assert ranks_of("early,late", "late=2") == (8, 0, 2)
    assert ranks_of("all", 0) == (0, 0, 0)
    for where in ("", "early,", "begin", "all,x"):
        with pytest.raises(ChoiceError, match="adapters can be early, mid, late or all"):
            ranks_of(where)
    for rank in ("x", "", "-1", "2.5", "early", "early=", "early=1,", "begin=3", "early=1 mid=2", "early=1,early=2"):
        with pytest.raises(ChoiceError, match="a rank is a number, or like early=4,mid=8,late=16"):
            ranks_of("all", rank)


@given(
    kind=st.sampled_from(["resnet", "efficientnet", "convnext", "vit", "grouped"]),
    method=st.sampled_from(METHODS),
    multiple=st.floats(1.05, 3),
    where=st.sets(st.sampled_from(STAGES), min_size=1),
)
@settings(deadline=None, max_examples=50)
def test_a_budget_is_kept_and_used(kind, method, multiple, where):
    bank = bank_for(kind)
    wanted = Plan(method, ranks_of(",".join(sorted(where))))
    own, norms = bank.backbone_size(), bank.norms_size()
    try:
        plan = within_budget(wanted, bank.sites, multiple, own, norms)
    except AdaptError as error:
        assert "do not even do for rank 1" in str(error)
        assert (
            norms + Plan(method, tuple(min(rank, 1) for rank in wanted.ranks), full=False).size(bank.sites)
            > (multiple - 1) * own
        )
        return
    assert plan.size(bank.sites) + norms <= (multiple - 1) * own
    assert [bool(rank) for rank in plan.ranks] == [bool(rank) for rank in wanted.ranks]
    larger = Plan(method, tuple(rank and rank + 1 for rank in plan.ranks), full=plan.full)
    sizes = plan.size(bank.sites), larger.size(bank.sites)
    assert sizes[1] + norms > (multiple - 1) * own or sizes[0] == sizes[1]
