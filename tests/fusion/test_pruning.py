import numpy as np
import pytest

from manyeyes.features.table import FeatureTable
from manyeyes.fusion.evidence import Evidence
from manyeyes.fusion.pruning import choose_backbones

COSTS = {"a": 1.0, "b": 1.0, "c": 1.0}


def test_who_tells_nothing_is_not_chosen(clouds):
    table, labels = clouds(150, apart=(1.0, 0.0, 1.0))
    assert {one.backbone for one in choose_backbones(table, labels, COSTS, 10.0)} == {"a", "c"}


def test_who_tells_the_same_again_is_not_chosen(clouds):
    table, labels = clouds(150, apart=(1.0,))
    twice = FeatureTable(table.blocks | {"b": table.blocks["a"].copy()})
    assert len(choose_backbones(twice, labels, COSTS, 10.0)) == 1


def test_what_is_cheap_comes_first_and_the_budget_is_kept(clouds):
    table, labels = clouds(150, apart=(1.0, 1.0, 1.0))
    costs = {"a": 5.0, "b": 1.0, "c": 3.0}
    chosen = choose_backbones(table, labels, costs, 4.5)
    assert [one.backbone for one in chosen] == ["b", "c"]
    assert [one.cost for one in chosen] == [1.0, 3.0]
    assert all(one.gain > 0 for one in chosen)


def test_the_cheapest_is_chosen_where_all_cost_too_much(clouds):
    table, labels = clouds(60)
    costs = {"a": 3.0, "b": 2.0, "c": 4.0}
    assert [one.backbone for one in choose_backbones(table, labels, costs, 1.0)] == ["b"]


def test_a_cheap_copy_does_not_hide_who_tells_something_new(clouds):
    table, labels = clouds(150, apart=(1.0, 1.0))
    three = FeatureTable({"a": table.blocks["a"], "copy": table.blocks["a"].copy(), "b": table.blocks["b"]})
    costs = {"a": 1.0, "copy": 1e-6, "b": 1e6}
    assert [one.backbone for one in choose_backbones(three, labels, costs, 1e9)][-1] == "b"


def test_taps_of_a_backbone_join_together(clouds):
    a, b, c = clouds(150, apart=(1.0, 1.0, 1.0))[0].blocks.values()
    labels = clouds(150, apart=(1.0, 1.0, 1.0))[1]
    table = FeatureTable({"a": a, "a/second-order": b, "c": c})
    gains = {one.backbone: one.gain for one in choose_backbones(table, labels, COSTS, 10.0)}
    evidence = Evidence(table.blocks, labels)
    assert gains["a"] == pytest.approx(evidence.of(["a", "a/second-order"]) - evidence.of([]))


def test_noise_is_no_evidence():
    random = np.random.default_rng(0)
    labels, noise = np.arange(90) % 3, random.normal(size=(90, 5)).astype(np.float32)
    evidence = Evidence({"noise": noise}, labels)
    assert evidence.of(["noise"]) == pytest.approx(evidence.of([]), abs=5e-3)
