import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyeyes.errors import ChoiceError
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.auto import Auto
from manyeyes.fusion.cascade import Cascade, Frontier, stops
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
    sure = np.exp(run.log_proba.max(axis=1)) >= fitted.threshold_
    for number in range(1, len(fitted.stages_)):
        assert asked.get(number, set()) == set(np.flatnonzero(run.stages >= number).tolist())
    assert (sure | (run.stages == len(fitted.stages_) - 1)).all()
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
    assert again.threshold_ == fitted.threshold_


def test_rows_of_a_table_with_other_columns_are_refused(fitted, new) -> None:
    table, _ = new
    with pytest.raises(ValueError, match="lacks the blocks"):
        fitted.predict(FeatureTable({"a": table.blocks["a"]}))


@given(st.integers(0, 1000), st.integers(2, 5))
@settings(max_examples=30, deadline=None)
def test_a_higher_threshold_never_costs_less(seed: int, stages: int) -> None:
    random = np.random.default_rng(seed)
    said = np.log(random.dirichlet(np.ones(3), (40, stages)))
    labels, costs = random.integers(0, 3, 40), np.cumsum(random.random(stages) + 0.1)
    found = Frontier.of(said, labels, costs)
    assert (np.diff(found.costs) >= -1e-12).all()
    assert found.costs[-1] == pytest.approx(1)
    assert found.accuracies[-1] == (said[:, -1].argmax(axis=1) == labels).mean()
    assert Frontier.of(said, labels, costs).keeping(0.0) == found.thresholds[0]
    kept = stops(np.exp(said.max(axis=2)), found.keeping(1.0))
    right = said[np.arange(40), kept].argmax(axis=1) == labels
    assert right.mean() >= found.accuracies[-1] - 1e-9
    budget = random.uniform(found.costs[0], 1)
    stopped = stops(np.exp(said.max(axis=2)), found.threshold(budget))
    assert costs[stopped].mean() / costs[-1] <= budget + 1e-9


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
