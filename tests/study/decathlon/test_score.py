"""The decathlon's score."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyeyes.study.decathlon.score import VISUAL_DECATHLON, decathlon_score, domain_score

# Of the papers' tables (NIPS 2017, table 1; CVPR 2018, table 1), with the scores printed there.
PUBLISHED = {
    "scratch": ("59.87 57.10 75.73 91.20 37.77 96.55 56.30 88.74 96.63 43.27", 1625),
    "feature extractor": ("59.67 23.31 63.11 80.33 45.37 68.16 73.69 58.79 43.54 26.80", 544),
    "fine-tuning": ("59.87 60.34 82.12 92.82 55.53 97.53 81.41 87.69 96.55 51.20", 2500),
    "batch norm": ("59.87 43.05 78.62 92.07 51.60 95.82 74.14 84.83 94.10 43.51", 1363),
    "learning without forgetting": ("59.87 61.15 82.23 92.34 58.83 97.57 83.05 88.08 96.10 50.04", 2515),
    "residual adapters": ("59.67 56.68 81.20 93.88 50.85 97.05 66.24 89.62 96.13 47.45", 2118),
    "the same, decay": ("59.67 61.87 81.20 93.88 57.13 97.57 81.67 89.62 96.13 50.12", 2621),
    "the same, all fine-tuned": ("59.23 63.73 81.31 93.30 57.02 97.47 83.43 89.82 96.17 50.28", 2643),
    "the same, large": ("67.00 67.69 84.69 94.28 59.41 97.43 84.86 89.92 96.59 52.39", 3131),
    "series": ("60.32 61.87 81.22 93.88 57.13 99.27 81.67 89.62 96.57 50.12", 3159),
    "parallel": ("60.32 64.21 81.92 94.73 58.83 99.38 84.68 89.21 96.54 50.94", 3412),
    "parallel, compressed": ("60.32 66.04 81.86 94.23 57.82 99.24 85.74 89.25 96.62 52.50", 3398),
}


@pytest.mark.parametrize("method", PUBLISHED)
def test_published_accuracies_have_the_published_scores(method):
    accuracies, score = PUBLISHED[method]
    named = dict(zip(VISUAL_DECATHLON, map(float, accuracies.split()), strict=True))
    assert decathlon_score(named) == pytest.approx(score, abs=3)


@given(baseline=st.floats(0, 99.9), one=st.floats(0, 100), other=st.floats(0, 100))
def test_fine_tuning_has_250_and_who_errs_less_never_has_less(baseline, one, other):
    worse, better = sorted([one, other])
    assert 0 <= domain_score(worse, baseline) <= domain_score(better, baseline) <= 1000
    assert domain_score(baseline, baseline) == pytest.approx(250)
    assert domain_score(100, baseline) == 1000
    assert domain_score(100 - 2 * (100 - baseline), baseline) == pytest.approx(0, abs=1e-6)


def test_where_fine_tuning_makes_no_error_neither_may_who_scores():
    assert domain_score(100, 100) == 250
    assert domain_score(99.9, 100) == 0


def test_a_domain_without_a_baseline_is_an_error_and_one_without_accuracy_scores_nothing():
    assert decathlon_score({"a": 90.0, "b": 80.0}, {"a": 90.0, "b": 80.0, "c": 1.0}) == pytest.approx(500)
    with pytest.raises(KeyError):
        decathlon_score({"a": 90.0}, {})
