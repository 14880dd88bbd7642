"""What the decathlon's page says of full fine-tuning and its rivals."""

import pytest

from manyeyes.study.decathlon.report import against_full
from manyeyes.study.decathlon.run import Result


def result(method, domain, accuracy, seed=0, per_class=0):
    return Result(method, domain, seed, per_class, accuracy, 0.0, 1, 0, 1.0, 10, 10)


def race(gains, **others):
    full = [result("full", str(number), 0.5, **others) for number in range(len(gains))]
    return full + [result("parallel", str(number), 0.5 + gain, **others) for number, gain in enumerate(gains)]


def test_gains_in_points_with_the_exact_paired_permutation_test():
    # All six domains have the same sign: of 64 ways to flip signs, two are as extreme.
    assert "parallel adapters +3.5 (p = 0.031)." in against_full(race([0.01, 0.02, 0.03, 0.04, 0.05, 0.06]))
    assert "parallel adapters +0.0 (p = 1)." in against_full(race([0.02, -0.02]))


def test_draws_of_the_same_domain_are_one_observation():
    gains = [0.01, 0.03, 0.05]
    twice = race(gains) + race(gains, seed=1)
    assert against_full(twice) == against_full(race(gains))


def test_each_number_of_photos_is_told_of():
    text = against_full(race([0.1, 0.2], per_class=5) + race([-0.1, -0.2], per_class=20))
    assert "5 photos a class: parallel adapters +15.0 (p = 0.5). 20 photos a class: parallel adapters -15.0" in text


@pytest.mark.parametrize("methods", [("parallel",), ("full",)])
def test_without_a_rival_there_is_nothing_to_tell(methods):
    assert against_full([one for one in race([0.1, 0.2]) if one.method in methods]) == ""


def test_a_single_domain_has_no_test():
    assert against_full(race([0.1])).endswith("parallel adapters +10.0.")
