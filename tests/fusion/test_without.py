"""Fusions whose backbones cannot all look: right with those that are left, and no feature is invented."""

import numpy as np
import pytest
import torch

from manyeyes.errors import LackingBackboneError
from manyeyes.features.table import FeatureTable
from manyeyes.fusion import FUSIONS
from manyeyes.fusion.auto import Auto
from manyeyes.fusion.cascade import Cascade
from manyeyes.fusion.mixture import MixtureOfExperts
from manyeyes.gates import GATES

pytestmark = pytest.mark.usefixtures("fast_descent")

# One expert sees all blocks side by side.
ALL_OR_NONE = {name for name in FUSIONS.names() if name.startswith("concat+")} | {"evidence"}
every_gate = pytest.mark.parametrize("gate", GATES.names())


def fitted(name, table, labels):
    options = {"expert": "kernel-ridge"} if "expert" in FUSIONS[name]().get_params() else {}
    options |= {"gate": "constant"} if name == "mixture" else {}
    return FUSIONS[name](**options).fit(table, labels)


@pytest.mark.parametrize("name", sorted(set(FUSIONS.names()) - ALL_OR_NONE))
def test_what_is_left_sees_only_what_is_there(name, clouds):
    table, labels = clouds(90, apart=(0.9, 0.8, 1.0))
    whole = fitted(name, table, labels)
    before = whole.predict_proba(table)
    new, truth = clouds(150, apart=(0.9, 0.8, 1.0), seed=1)
    for lost in ({"b"}, {"a"}, {"a", "b"}):
        left = whole.without(lost)
        names = [one for one in new.names if one not in lost]
        proba = left.predict_proba(new.select(names))
        np.testing.assert_allclose(proba.sum(axis=1), 1)
        assert (proba.argmax(axis=1) == truth).mean() > 0.45
        np.testing.assert_array_equal(proba, left.predict_proba(new))
        assert set(left.opinions(new)) <= {*names, "all blocks"}
    np.testing.assert_array_equal(whole.predict_proba(table), before)


@pytest.mark.parametrize("name", sorted(ALL_OR_NONE))
def test_what_sees_all_side_by_side_says_that_it_cannot(name, clouds):
    table, labels = clouds(60)
    with pytest.raises(LackingBackboneError, match=r"can say nothing without b"):
        fitted(name, table, labels).without({"b"})


def test_nothing_is_lost_and_all_is_lost(clouds):
    table, labels = clouds(60)
    whole = fitted("auto", table, labels)
    assert whole.without({"z"}) is whole
    with pytest.raises(LackingBackboneError, match=r"without a, b, c"):
        whole.without({"a", "b", "c"})


@every_gate
def test_a_gate_weighs_those_that_are_left_against_each_other_as_before(gate, labelled):
    table, labels = labelled(90)
    model = MixtureOfExperts(gate=gate, expert="kernel-ridge").fit(table, labels)
    torch.manual_seed(0)
    for parameter in model.gate_.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    whole = model.gate_weights(table)
    assert gate == "uniform" or np.ptp(whole, axis=1).mean() > 0.05
    left = model.without({"b"})
    own = whole[:, [0, 2]]
    np.testing.assert_allclose(
        left.gate_weights(table.select(["a", "c"])), own / own.sum(axis=1, keepdims=True), atol=1e-6
    )


def test_an_expert_with_a_label_space_goes_with_its_backbone(labelled):
    table, labels = labelled(90)
    model = MixtureOfExperts("constant", label_space="random", expert="kernel-ridge").fit(table, labels)
    left = model.without({"a"})
    assert (left.labelled_, left.panel_.names_) == (["b"], ["b", "c"])
    assert left.predict(table.select(["b", "c"])).shape == (90,)


def test_auto_goes_on_with_the_experts_that_saw_nothing_of_the_lost(clouds):
    a, b, c, d = clouds(90, apart=(1.0, 0.8, 0.6, 0.9))[0].blocks.values()
    labels = clouds(90, apart=(1.0, 0.8, 0.6, 0.9))[1]
    table = FeatureTable({"a": a, "a/second-order": b, "b": c, "c": d})
    model = Auto().fit(table, labels)
    left = model.without({"a", "a/second-order"})
    assert list(left.experts_) == ["b", "c"]
    np.testing.assert_allclose(left.exponents_, [0.5, 0.5])
    said = model.opinions(table)
    assert all(np.array_equal(own, said[name]) for name, own in left.opinions(table).items())


def test_a_cascade_leaves_out_the_stage_of_the_lost(clouds):
    table, labels = clouds(120, apart=(0.8, 0.8, 1.2))
    cascade = Cascade(Auto(), {"a": 1.0, "b": 1.0, "c": 5.0}, 0.5).fit(table, labels)
    first, second, last = cascade.order_
    left = cascade.without({second})
    assert left.order_ == [first, last]
    assert left.stages_[0] is cascade.stages_[0]
    np.testing.assert_allclose(left.predict_proba(table.select([first, last])).sum(axis=1), 1)
    np.testing.assert_allclose(cascade.without({first}).predict_proba(table.select([second, last])).sum(axis=1), 1)


def test_stages_that_see_all_side_by_side_end_before_the_lost(clouds):
    table, labels = clouds(120, apart=(0.8, 0.8, 1.2))
    cascade = Cascade(FUSIONS["concat+ridge"](), {"a": 1.0, "b": 1.0, "c": 5.0}, 0.5).fit(table, labels)
    first, second, _ = cascade.order_
    left = cascade.without({second})
    assert (left.order_, left.blocks_) == ([first], [first])
    assert left.predict(table.select([first])).shape == (120,)
    with pytest.raises(LackingBackboneError, match=f"Cascade can say nothing without {first}"):
        cascade.without({first})


def test_evidence_does_without_what_it_did_not_select(clouds):
    table, labels = clouds(120, apart=(1.5, 0.0, 1.5))
    model = fitted("evidence", table, labels)
    assert "b" not in model.evidence_
    assert model.without({"b"}).predict(table.select(["a", "c"])).tolist() == model.predict(table).tolist()


def test_what_is_left_goes_by_the_budget_that_is_set(clouds):
    table, labels = clouds(120, apart=(0.8, 0.8, 1.2))
    cascade = Cascade(Auto(), {"a": 1.0, "b": 1.0, "c": 5.0}, 0.5).fit(table, labels)
    lost = {cascade.order_[1]}
    assert cascade.without(lost) is cascade.without(lost)
    cascade.without(lost)
    assert cascade.spend(1.0).without(lost).price_ == -np.inf
