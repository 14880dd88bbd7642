"""Recipes: how the rate goes, how weights decay, and what is no recipe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyeyes.adapt.training.recipe import LEAST_DECAY, MOST_DECAY, Recipe, decay_for
from manyeyes.errors import ChoiceError

schedules = st.sampled_from(["cosine", "step", "constant"])


@given(
    schedule=schedules,
    epochs=st.integers(1, 200),
    warm_up=st.floats(0, 10),
    rate=st.floats(1e-6, 10),
    places=st.lists(st.floats(0, 1), min_size=2, max_size=2),
)
def test_a_rate_rises_to_its_top_and_never_again(schedule, epochs, warm_up, rate, places):
    recipe = Recipe(epochs=epochs, rate=rate, schedule=schedule, warm_up=warm_up)
    first, second = sorted(place * epochs for place in places)
    assert 0 <= recipe.rate_at(first) <= rate * (1 + 1e-9)
    if second < warm_up:
        assert recipe.rate_at(first) <= recipe.rate_at(second)
    elif first >= warm_up:
        assert recipe.rate_at(first) >= recipe.rate_at(second) * (1 - 1e-9)
    if warm_up < epochs / 2 or schedule == "constant":
        assert recipe.rate_at(warm_up) == pytest.approx(rate)


def test_each_schedule_ends_as_it_says():
    ends = {name: Recipe(epochs=12, rate=1.0, warm_up=0, schedule=name) for name in ("cosine", "step", "constant")}
    assert ends["cosine"].rate_at(12) == pytest.approx(0)
    assert ends["cosine"].rate_at(6) == pytest.approx(0.5)
    assert [ends["step"].rate_at(epoch) for epoch in (0, 8, 8.1, 10, 10.1, 12)] == pytest.approx(
        [1, 1, 0.1, 0.1] + [0.01] * 2
    )
    assert ends["constant"].rate_at(12) == 1.0
    # After the last epoch too, and with none at all.
    assert ends["cosine"].rate_at(13) == pytest.approx(0)
    assert Recipe(epochs=0, rate=0.3, warm_up=0).rate_at(0) == 0.3


@given(st.floats(0.1, 1e6), st.floats(0.1, 1e6))
def test_the_fewer_photos_the_more_weights_decay(one, other):
    few, many = sorted([one, other])
    assert MOST_DECAY >= decay_for(few) >= decay_for(many) >= LEAST_DECAY


def test_a_decay_that_is_named_counts():
    assert Recipe().decays(1000) == dict.fromkeys(["adapters", "norms", "body", "gates", "head"], LEAST_DECAY)
    assert Recipe(decay=0.1).decays(1000) == dict.fromkeys(["adapters", "norms", "body", "gates", "head"], 0.1)
    named = Recipe(decay=0.1, norm_decay=0.0, head_decay=0.2).decays(1)
    assert named == {"adapters": 0.1, "body": 0.1, "gates": 0.1, "norms": 0.0, "head": 0.2}


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"optimiser": "adam"}, "optimiser is one of sgd, adamw, not 'adam'"),
        ({"schedule": "linear"}, "schedule is one of cosine, step, constant, not 'linear'"),
        ({"precision": "fp16"}, "precision is one of fp32, bf16, not 'fp16'"),
        ({"epochs": -1}, "a recipe wants epochs"),
        ({"batch": 0}, "a recipe wants epochs"),
        ({"patience": 0}, "a recipe wants epochs"),
        ({"rate": 0.0}, "a rate above 0"),
        ({"warm_up": -1.0}, "warm-up, clip, decay, auxiliary, sparsity and shares of the rate are 0 or more"),
        ({"clip": -1.0}, "warm-up, clip, decay, auxiliary, sparsity and shares of the rate are 0 or more"),
        ({"decay": -1.0}, "warm-up, clip, decay, auxiliary, sparsity and shares of the rate are 0 or more"),
        ({"head_decay": -1.0}, "warm-up, clip, decay, auxiliary, sparsity and shares of the rate are 0 or more"),
        ({"body_rate": -1.0}, "shares of the rate are 0 or more"),
        ({"sparsity": -0.1}, "shares of the rate are 0 or more"),
        ({"frozen": -1}, "a recipe wants epochs and frozen >= 0"),
        ({"cut": "whole"}, "cut is one of shifted, resized, not 'whole'"),
        ({"milestones": (float("nan"),)}, "numbers of a recipe are finite"),
        ({"smoothing": 1.0}, "smoothing, dropout and momentum below 1"),
        ({"dropout": -0.1}, "smoothing, dropout and momentum below 1"),
        ({"momentum": 1.0}, "smoothing, dropout and momentum below 1"),
        ({"rate": float("nan")}, "numbers of a recipe are finite"),
        ({"decay": float("nan")}, "numbers of a recipe are finite"),
        ({"warm_up": float("inf")}, "numbers of a recipe are finite"),
    ],
)
def test_what_is_no_recipe_is_one_line(choices, words):
    with pytest.raises(ChoiceError, match=words):
        Recipe(**choices)
