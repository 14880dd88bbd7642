import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax

from manyeyes.experts.calibration import log_loss
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.exponents import fit_exponents, learn_exponents, pool
from manyeyes.fusion.log_linear import LogLinearPool


def opinions_of(skills, rows: int = 200, classes: int = 3, seed: int = 0):
    """One expert for each skill: noise, and so much of the truth."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % classes)
    logits = [skill * np.eye(classes)[labels] + rng.normal(size=(rows, classes)) for skill in skills]
    return np.stack([log_softmax(one, axis=1) for one in logits], axis=1), labels


def penalised_loss(exponents, opinions, labels, weights, strength):
    any_class = 1 / (weights.sum() + 1)
    pooled = pool(exponents, opinions)
    loss = (1 - any_class) * log_loss(pooled, labels, weights)
    loss -= any_class * np.average(pooled.mean(axis=1), weights=weights)
    scaled = len(exponents) * exponents
    return loss + strength / 2 * ((scaled - scaled.mean()) ** 2).sum() / weights.sum()


@pytest.mark.parametrize("strength", [0.1, 10.0])
def test_no_other_exponents_have_less_loss(strength):
    opinions, labels = opinions_of([2.0, 1.0, 0.5, -0.5])
    weights = np.random.default_rng(1).uniform(0, 2, len(labels))
    found = fit_exponents(opinions, labels, weights, strength)
    arguments = (opinions, labels, weights, strength)
    other = minimize(penalised_loss, np.full(4, 0.25), arguments, "L-BFGS-B", bounds=[(0, None)] * 4, tol=1e-12)
    np.testing.assert_allclose(found, other.x, atol=1e-3)
    assert penalised_loss(found, *arguments) <= other.fun + 1e-7


def test_who_is_worse_than_chance_gets_nothing_and_never_less():
    opinions, labels = opinions_of([2.0, 1.0, -1.0])
    exponents = fit_exponents(opinions, labels, np.ones(200), 1e-3)
    assert exponents[0] > exponents[1] > 0
    assert exponents[2] == 0


def test_under_an_endless_penalty_exponents_are_equal_but_their_sum_is_free():
    opinions, labels = opinions_of([2.0, 1.0, 0.5])
    exponents = fit_exponents(opinions, labels, np.ones(200), 1e5)
    np.testing.assert_allclose(exponents, exponents[0], rtol=2e-3)
    halved = fit_exponents(opinions / 2, labels, np.ones(200), 1e5)
    np.testing.assert_allclose(halved, 2 * exponents, rtol=2e-3)


def test_being_right_on_every_row_makes_no_exponent_endless():
    labels = np.arange(30) % 3
    opinions = np.stack([log_softmax(2 * np.eye(3)[labels], axis=1)] * 2, axis=1)
    sure = np.exp(pool(fit_exponents(opinions, labels, np.ones(30), 1.0), opinions)).max(axis=1)
    np.testing.assert_allclose(sure, 1 - 2 / 3 / 31, atol=1e-3)


@given(st.integers(2, 6), st.integers(2, 5), st.integers(0, 100))
def test_pooling_equal_experts_with_exponents_that_sum_to_one_is_that_expert(experts, classes, seed):
    rng = np.random.default_rng(seed)
    one = log_softmax(3 * rng.normal(size=(4, classes)), axis=1)
    pooled = pool(rng.dirichlet(np.ones(experts)), np.repeat(one[:, None], experts, axis=1))
    np.testing.assert_allclose(pooled, one, atol=1e-9)


def test_rows_do_not_shape_the_exponents_that_judge_them():
    opinions, labels = opinions_of([2.0, 1.0], rows=60)
    before = learn_exponents(opinions, labels, np.ones(60))
    assert before.held_out.shape == (60, 3)
    groups = np.arange(60) // 4
    lied = labels.copy()
    lied[:4] = (lied[:4] + 1) % 3
    pair = [learn_exponents(opinions, y, np.ones(60), groups).held_out[:4] for y in (labels, lied)]
    # Stratification may move groups between folds; what is said of the four rows still never follows their labels.
    assert [(said.argmax(axis=1) == lied[:4]).sum() for said in pair][1] <= 1


def test_few_photos_leave_exponents_equal_and_many_part_them():
    few, labels = opinions_of([2.0, 0.0, 0.0, 0.0], rows=9)
    many, many_labels = opinions_of([2.0, 0.0, 0.0, 0.0], rows=600)
    spread = [
        np.ptp(one.values / one.values.sum())
        for one in (learn_exponents(few, labels, np.ones(9)), learn_exponents(many, many_labels, np.ones(600)))
    ]
    assert spread[0] < spread[1]


def test_where_nothing_can_be_held_out_the_geometric_mean_speaks():
    opinions, labels = opinions_of([2.0, 1.0], rows=3)
    learnt = learn_exponents(opinions, labels, np.ones(3))
    np.testing.assert_allclose(learnt.held_out, log_softmax(opinions.mean(axis=1), axis=1))


def test_the_pool_multiplies_what_its_experts_say() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    table = FeatureTable({name: (np.eye(3)[y] + rng.normal(size=(60, 3))).astype(np.float32) for name in "ab"})
    model = LogLinearPool("kernel-ridge").fit(table, y)
    logits = np.einsum("k,nkc->nc", model.exponents_, model.panel_.log_proba(table)) / model.temperature_
    np.testing.assert_allclose(model.predict_log_proba(table), log_softmax(logits, axis=1))
