from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyeyes.errors import ChoiceError
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.auto import Auto
from manyeyes.fusion.cascade import Cascade
from manyeyes.fusion.frontier import By, Frontier, Looks
from manyeyes.fusion.mixture import MixtureOfExperts
from manyeyes.state import pack, unpack

COSTS = {"a": 1.0, "b": 2.0, "c": 7.0}


@pytest.fixture(scope="module")
def fitted(clouds):
    table, labels = clouds(180, apart=(0.7, 0.9, 1.4))
    return Cascade(Auto(), COSTS, budget=0.5).fit(table, labels)


@pytest.fixture(scope="module")
def new(clouds):
    return clouds(300, apart=(0.7, 0.9, 1.4), seed=1)


def test_each_stage_is_the_fusion_of_the_first_backbones_by_itself(fitted, clouds) -> None:
    table, labels = clouds(180, apart=(0.7, 0.9, 1.4))
    for number, stage in enumerate(fitted.stages_, 1):
        names = fitted.order_[:number]
        alone = Auto().fit(table.select(names), labels)
        np.testing.assert_allclose(stage.predict_log_proba(table), alone.predict_log_proba(table), atol=1e-9)


def test_with_the_whole_budget_it_is_the_fusion_of_all(fitted, new) -> None:
    table, _ = new
    cascade = unpack(pack(fitted, arrays := {}), arrays).spend(1.0)
    np.testing.assert_array_equal(cascade.predict_proba(table), cascade.stages_[-1].predict_proba(table))


def test_later_stages_are_asked_about_unsure_photos_only(fitted, new) -> None:
    table, _ = new
    asked = {}

    def look(number, rows):
        asked[number] = set(rows.tolist())
        return rows, table.select(fitted.stages_[number].blocks_)[rows]

    run = fitted.run(len(table), look)
    assert asked[0] == set(range(len(table)))
    for number in range(1, len(fitted.stages_)):
        assert asked.get(number, set()) == set(np.flatnonzero(run.stages >= number).tolist())
    costs = fitted.costs_so_far()
    for row, number in enumerate(run.stages):
        if number < len(fitted.stages_) - 1:
            doubt = 1 - np.exp(run.log_proba[row].max())
            assert doubt / (costs[number + 1] - costs[number]) < fitted.price_
    said = fitted.opinions_of_stages(table)
    looks = fitted.looks(said, table)
    np.testing.assert_array_equal(looks.stops(fitted.price_), run.stages)
    np.testing.assert_allclose(said[np.arange(len(said)), run.stages], run.log_proba, atol=1e-9)
    np.testing.assert_array_equal(fitted.predict_log_proba(table), run.log_proba)


def test_costs_are_within_the_budget_on_photos_like_those_it_learnt_from(fitted, new) -> None:
    table, _ = new
    spent = []
    for budget in (0.3, 0.5, 0.8):
        fitted.spend(budget)
        spent.append(fitted.spent(fitted.run_on(table).stages)[0])
        assert spent[-1] <= budget + 0.1
    fitted.spend(0.5)
    assert spent == sorted(spent)


def test_order_begins_with_who_tells_most_for_its_cost(clouds) -> None:
    table, labels = clouds(120, apart=(0.1, 1.5, 1.5))
    assert Cascade(Auto(), {"a": 1.0, "b": 1.0, "c": 1.0}).fit(table, labels).order_[-1] == "a"
    assert Cascade(Auto(), {"a": 1.0, "b": 1.0, "c": 9.0}).fit(table, labels).order_[0] == "b"


@pytest.mark.usefixtures("two_strengths")
def test_any_fusion_can_be_its_stages(clouds) -> None:
    table, labels = clouds(90)
    cascade = Cascade(MixtureOfExperts(gate="constant", random_state=3), COSTS, 0.6).fit(table, labels)
    assert [len(stage.blocks_) for stage in cascade.stages_] == [1, 2, 3]
    np.testing.assert_allclose(cascade.predict_proba(table).sum(axis=1), 1)


def test_one_backbone_is_asked_always(clouds) -> None:
    table, labels = clouds(60, apart=(1.0,))
    cascade = Cascade(Auto(), {"a": 3.0}).fit(table, labels)
    np.testing.assert_allclose(cascade.predict_proba(table), cascade.stages_[0].predict_proba(table))


def test_too_small_a_budget_is_refused(fitted) -> None:
    with pytest.raises(ChoiceError, match=r"a budget of 1.0% of what all backbones take is too small: the first takes"):
        fitted.spend(0.01)


def test_saved_and_read_again_it_says_the_same(fitted, new) -> None:
    table, _ = new
    again = unpack(pack(fitted, arrays := {}), arrays)
    np.testing.assert_array_equal(again.predict_proba(table), fitted.predict_proba(table))
    assert again.price_ == fitted.price_


def test_rows_of_a_table_with_other_columns_are_refused(fitted, new) -> None:
    table, _ = new
    with pytest.raises(ValueError, match="lacks the blocks"):
        fitted.predict(FeatureTable({"a": table.blocks["a"]}))


@given(st.integers(0, 1000), st.integers(1, 5), st.sampled_from(get_args(By)))
@settings(max_examples=60, deadline=None)
def test_a_lower_price_never_costs_less(seed: int, stages: int, by: By) -> None:
    random = np.random.default_rng(seed)
    said = np.log(random.dirichlet(np.ones(3), (40, stages)))
    labels, costs = random.integers(0, 3, 40), np.cumsum(random.random(stages) + 0.1)
    costs /= costs[-1]
    weights = None if by == "confidence" else np.log(random.dirichlet(np.ones(stages), 40))
    looks, right = Looks.of(said, weights, costs, by), said.argmax(axis=2) == labels[:, None]
    found = Frontier.of(looks, said, labels)
    assert (np.diff(found.costs) >= -1e-12).all()
    assert found.costs[-1] == pytest.approx(1)
    assert found.accuracies[-1] == right[:, -1].mean()
    assert (found.losses >= 0).all()
    assert found.losses[-1] == 0
    assert found.keeping(0.0) == found.prices[0]
    kept = found.at(found.keeping(1.0))
    assert kept.accuracy == found.accuracies[-1]
    assert found.at(found.keeping(0.9)).cost <= kept.cost
    budget = random.uniform(min(found.costs[0], 1), 1)
    assert costs[looks.stops(found.price(budget))].mean() <= budget + 1e-9
    if by == "both":
        assert (looks.stops(np.inf) == weights.argmax(axis=1)).all()


def test_a_photo_that_can_no_longer_be_looked_at_keeps_its_answer(fitted, new) -> None:
    table, _ = new
    fitted.spend(1.0)
    gone = {3, 7}

    def look(number, rows):
        rows = np.array([row for row in rows if number == 0 or row not in gone])
        return rows, table.select(fitted.stages_[number].blocks_)[rows]

    run = fitted.run(len(table), look)
    fitted.spend(0.5)
    assert run.stages[[3, 7]].tolist() == [0, 0]
    np.testing.assert_array_equal(run.log_proba[[3, 7]], fitted.stages_[0].predict_log_proba(table)[[3, 7]])


def test_a_backbone_that_only_knows_how_many_there_are_is_not_asked_first(clouds) -> None:
    table, labels = clouds(200, 2, apart=(0.0, 2.0), p=[0.94, 0.06])
    assert Cascade(Auto(), {"a": 1.0, "b": 5.0}).fit(table, labels).order_ == ["b", "a"]


def test_the_first_backbone_is_within_the_budget(clouds) -> None:
    table, labels = clouds(120, apart=(0.3, 1.5, 1.5))
    assert Cascade(Auto(), {"a": 1.0, "b": 4.0, "c": 5.0}, 0.2).fit(table, labels).order_[0] == "a"


def test_its_stages_are_as_it_is_set(clouds) -> None:
    table, labels = clouds(90)
    cascade = Cascade(Auto(), COSTS).set_params(whole__class_weight="balanced", whole__random_state=4)
    assert {stage.class_weight for stage in cascade.fit(table, labels).stages_} == {"balanced"}
    with pytest.raises(ChoiceError, match=r"nobody says what c costs"):
        Cascade(Auto(), {"a": 1.0, "b": 1.0}).fit(table, labels)


def test_what_is_to_be_kept_is_kept_at_the_least_cost(clouds, new) -> None:
    table, labels = clouds(180, apart=(0.7, 0.9, 1.4))
    cascade = Cascade(Auto(), COSTS, kept=0.95).fit(table, labels)
    some, all_ = cascade.run_on(new[0]), cascade.stages_[-1].score(*new)
    accuracy = (cascade.classes_[some.log_proba.argmax(axis=1)] == new[1]).mean()
    assert accuracy >= 0.95 * all_ - 0.02
    assert cascade.spent(some.stages)[0] < 0.95
    assert cascade.budget == cascade.expected().cost
    assert cascade.keep(1.0).expected().cost >= cascade.keep(0.5).expected().cost
    assert cascade.spend(0.5).kept is None
