"""Paired tests, against scipy and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap

from manyeyes.study.statistics import bootstrap_intervals, holm, paired_tests, sign_test

from .conftest import by_hand

# One class "a" of eight photos, two seeds: 0 is right.
BETTER = [[0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 1, 1]]
WORSE = [[0, 1, 1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0, 0, 0]]


def test_discordant_photos_are_counted_once_over_seeds():
    outcomes = by_hand([0] * 8, {"ours": BETTER, "stacking": WORSE}, classes=2)
    (test,) = paired_tests(outcomes)
    assert (test.method, test.reference) == ("ours", "stacking")
    # Photos 1, 2 (twice) and 3 (once) are ours; 6 (once) and 7 (twice) theirs.
    assert (test.better, test.worse) == (3, 2)
    assert test.p_value == pytest.approx(binomtest(3, 5).pvalue)
    assert test.difference == pytest.approx((5 - 3) / 16)
    assert test.by_seed == (pytest.approx(binomtest(3, 4).pvalue), pytest.approx(binomtest(2, 4).pvalue))


def test_with_one_seed_it_is_mcnemars_exact_test():
    outcomes = by_hand([0] * 8, {"ours": BETTER[:1], "stacking": WORSE[:1]}, classes=2)
    (test,) = paired_tests(outcomes)
    assert test.p_value == test.by_seed[0] == pytest.approx(binomtest(3, 4).pvalue)


def test_a_group_of_photos_is_one_unit():
    outcomes = by_hand([0] * 8, {"ours": BETTER, "stacking": WORSE}, classes=2, groups=[0, 1, 1, 1, 2, 2, 3, 3])
    (test,) = paired_tests(outcomes)
    assert (test.better, test.worse) == (1, 1)
    assert test.difference == pytest.approx(2 / 16)


def test_photos_that_were_not_judged_do_not_count():
    ours, theirs = [[0, 0, 0, 1, -1]], [[0, 1, 1, 1, -1]]
    (test,) = paired_tests(by_hand([0] * 5, {"ours": ours, "stacking": theirs}, classes=2))
    assert test.difference == pytest.approx(2 / 4)


def test_the_same_answers_are_no_difference():
    (test,) = paired_tests(by_hand([0] * 8, {"ours": BETTER, "stacking": BETTER}, classes=2))
    assert (test.difference, test.low, test.high, test.p_value, test.p_adjusted) == (0, 0, 0, 1, 1)


def test_tests_are_made_against_the_references_that_are_there_and_not_of_the_bound():
    said = {"auto": BETTER, "stacking": WORSE, "best-single": WORSE, "oracle": BETTER}
    pairs = [(test.method, test.reference) for test in paired_tests(by_hand([0] * 8, said, classes=2))]
    assert pairs == [
        ("auto", "best-single"),
        ("stacking", "best-single"),
        ("auto", "stacking"),
        ("best-single", "stacking"),
    ]
    assert paired_tests(by_hand([0] * 8, {"stacking": BETTER}, classes=2)) == []


def test_the_interval_is_that_of_scipys_bootstrap():
    rng = np.random.default_rng(1)
    gains = rng.integers(-2, 3, (200, 1)).astype(float)
    draws = rng.integers(0, 200, (4000, 200))
    weights = np.stack([np.bincount(draw, minlength=200) for draw in draws])
    ours = bootstrap_intervals(gains, np.full(200, 2.0), weights)[0]
    theirs = bootstrap(
        (gains[:, 0] / 2,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours == pytest.approx([theirs.low, theirs.high], abs=0.015)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    gains = rng.choice([-1.0, 0.0, 1.0], (120, 300), p=[0.1, 0.7, 0.2])
    weights = np.stack([np.bincount(rng.integers(0, 120, 120), minlength=120) for _ in range(1000)])
    low, high = bootstrap_intervals(gains, np.ones(120), weights).T
    assert 0.9 <= ((low <= 0.1) & (high >= 0.1)).mean() <= 0.98


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04, made to rise.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_adjusted_p_values_are_larger_and_keep_their_order(p_values):
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_sign_test_knows_no_sides(better, worse):
    assert sign_test(better, worse) == pytest.approx(sign_test(worse, better))
    assert 0 < sign_test(better, worse) <= 1
