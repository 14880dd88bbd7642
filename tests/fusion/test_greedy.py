import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from manyeyes.features.table import FeatureTable
from manyeyes.fusion import greedy
from manyeyes.fusion.greedy import GreedyEnsemble, bagged, pick_greedily


def loss(likelihoods, shares, weights):
    return -np.average(np.log(likelihoods @ shares), weights=weights)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_shares_are_close_to_the_best_there_are(seed, monkeypatch):
    monkeypatch.setattr(greedy, "PICKS", 100)
    rng = np.random.default_rng(seed)
    likelihoods = rng.beta(rng.uniform(0.5, 2, 6), 1, (300, 6))
    weights = rng.uniform(0, 2, 300)
    shares = pick_greedily(likelihoods, weights)
    best = minimize(
        lambda shares: loss(likelihoods, shares, weights),
        np.full(6, 1 / 6),
        bounds=[(0, 1)] * 6,
        constraints={"type": "eq", "fun": lambda shares: shares.sum() - 1},
    )
    assert loss(likelihoods, shares, weights) < best.fun + 1e-3


@given(st.integers(1, 6), st.integers(2, 30), st.integers(0, 1000))
def test_shares_sum_to_one_and_are_no_worse_than_the_best_expert_or_the_mean_of_all(experts, rows, seed):
    rng = np.random.default_rng(seed)
    likelihoods, weights = rng.uniform(1e-6, 1, (rows, experts)), rng.uniform(0.1, 2, rows)
    shares = pick_greedily(likelihoods, weights)
    assert shares.sum() == pytest.approx(1)
    found = loss(likelihoods, shares, weights)
    for other in [*np.eye(experts), np.full(experts, 1 / experts)]:
        assert found <= loss(likelihoods, other, weights) + 1e-9
    assert bagged(likelihoods, weights, 0).sum() == pytest.approx(1)


def test_an_expert_that_is_always_sure_and_right_is_all_that_is_picked():
    likelihoods = np.stack([np.full(20, 0.4), np.full(20, 0.9), np.full(20, 0.5)], axis=1)
    np.testing.assert_array_equal(pick_greedily(likelihoods, np.ones(20)), [0, 1, 0])


def test_experts_that_complete_one_another_share_the_picks():
    knows = np.arange(20) % 2 == 0
    likelihoods = np.stack([np.where(knows, 0.9, 0.1), np.where(knows, 0.1, 0.9), np.full(20, 0.3)], axis=1)
    np.testing.assert_allclose(pick_greedily(likelihoods, np.ones(20)), [0.5, 0.5, 0])


def test_bags_give_a_lucky_expert_less_than_all_and_a_bad_one_little():
    rng = np.random.default_rng(0)
    likelihoods = np.concatenate([rng.beta(3, 1, (50, 9)), rng.beta(1, 3, (50, 1))], axis=1)
    alone, shared = pick_greedily(likelihoods, np.ones(50)), bagged(likelihoods, np.ones(50), 0)
    assert shared.max() < alone.max()
    assert shared[9] < 0.02


def test_rows_without_weight_are_not_heard():
    likelihoods = np.stack([np.repeat([0.9, 0.1], 10), np.repeat([0.1, 0.8], 10)], axis=1)
    np.testing.assert_array_equal(pick_greedily(likelihoods, np.repeat([1.0, 0.0], 10)), [1, 0])


def test_the_fusion_is_the_weighted_mean() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    skill = {"a": 2.0, "b": 1.0, "c": 0.0}
    table = FeatureTable({k: (s * np.eye(3)[y] + rng.normal(size=(60, 3))).astype("f4") for k, s in skill.items()})
    model = GreedyEnsemble("kernel-ridge").fit(table, y)
    assert model.weights_[0] > model.weights_[1] > model.weights_[2]
    model.temperature_ = 1.0
    mean = np.einsum("k,nkc->nc", model.weights_, np.exp(model.panel_.log_proba(table)))
    np.testing.assert_allclose(model.predict_proba(table), mean)
