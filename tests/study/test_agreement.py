"""Agreement and classes won, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score

from manyeyes.study.agreement import (
    Wins,
    accuracy_where,
    class_accuracy,
    class_f1,
    classes_won,
    contested_classes,
    disagreement,
    kappas,
    rescue,
)

from .conftest import by_hand

TRUTH = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
EYE = [0, 0, 0, 0, 1, 1, 0, 0, 2, 0]
EAR = [0, 0, 0, 1, 1, 1, 1, 1, 0, 0]
NOSE = [0, 1, 0, 0, 1, 1, 1, 0, 2, 0]
NAMES = ["eye+softmax", "ear+softmax", "nose+softmax"]


@pytest.fixture
def outcomes():
    return by_hand(TRUTH, {"eye": [EYE], "ear": [EAR], "nose": [NOSE]}, singles=["eye", "ear", "nose"])


def test_kappa_is_scikit_learns(outcomes):
    matrix = kappas(outcomes, NAMES)
    assert np.diag(matrix).tolist() == [1, 1, 1] and (matrix == matrix.T).all()
    assert matrix[0, 1] == pytest.approx(cohen_kappa_score(EYE, EAR))
    assert matrix[2, 1] == pytest.approx(cohen_kappa_score(NOSE, EAR))


def test_kappa_is_the_mean_over_seeds():
    outcomes = by_hand(TRUTH, {"eye": [EYE, NOSE], "ear": [EAR, EAR]}, singles=["eye", "ear"])
    by_seed = [cohen_kappa_score(EYE, EAR), cohen_kappa_score(NOSE, EAR)]
    assert kappas(outcomes, NAMES[:2])[0, 1] == pytest.approx(np.mean(by_seed))


def test_kappa_of_backbones_that_know_only_one_word():
    outcomes = by_hand([0, 1, 0, 1], {"eye": [[0] * 4], "ear": [[0] * 4]}, singles=["eye", "ear"])
    assert kappas(outcomes, NAMES[:2]).tolist() == [[1, 1], [1, 1]]


def test_how_many_are_right_at_once(outcomes):
    found = rescue(outcomes, NAMES)
    # Photo by photo: 3 2 3 2 3 3 2 1 2 0.
    assert found.shares == pytest.approx([0.1, 0.1, 0.4, 0.4])
    # All make three errors; the first counts as the best, and one of its errors is everyone's.
    assert (found.best, found.errors, found.all_wrong) == ("eye+softmax", 3, 1)
    assert found.ratio == pytest.approx(1 / 3)


def test_without_errors_there_is_nothing_to_rescue():
    found = rescue(by_hand(TRUTH, {"eye": [TRUTH], "ear": [EAR]}, singles=["eye", "ear"]), NAMES[:2])
    assert (found.errors, found.ratio) == (0, 0)


def test_accuracy_and_f1_of_each_class(outcomes):
    assert class_accuracy(outcomes, "eye+softmax").tolist() == [1, 0.5, 0.5]
    assert class_f1(outcomes, "eye+softmax") == pytest.approx(f1_score(TRUTH, EYE, average=None))
    assert class_f1(outcomes, "ear+softmax")[2] == 0


def test_a_class_that_was_never_judged_has_neither():
    outcomes = by_hand([0, 0, 1, 1, 2], {"eye": [[0, 1, 1, 1, -1]], "ear": [[0, 0, 1, 1, -1]]}, singles=["eye", "ear"])
    assert np.isnan(class_accuracy(outcomes, "eye+softmax")).tolist() == [False, False, True]
    assert np.isnan(class_f1(outcomes, "eye+softmax")).tolist() == [False, False, True]
    assert classes_won(outcomes, NAMES[:2]) == {"eye+softmax": Wins(0, 1), "ear+softmax": Wins(1, 1)}


def test_classes_won_count_ties_for_all_who_share_them(outcomes):
    # Accuracies: class 0 is 4/4, 3/4, 3/4; class 1 is 2/4, 4/4, 3/4; class 2 is 1/2, 0, 1/2.
    assert classes_won(outcomes, NAMES) == {
        "eye+softmax": Wins(alone=1, tied=1),
        "ear+softmax": Wins(alone=1, tied=0),
        "nose+softmax": Wins(alone=0, tied=1),
    }


def test_a_rival_takes_classes_from_the_others():
    said = {"eye": [EYE], "ear": [EAR], "auto": [TRUTH]}
    outcomes = by_hand(TRUTH, said, singles=["eye", "ear"])
    assert classes_won(outcomes, [*NAMES[:2], "auto"]) == {
        "eye+softmax": Wins(0, 1),
        "ear+softmax": Wins(0, 1),
        "auto": Wins(1, 2),
    }


def test_contested_classes_have_different_winners(outcomes):
    found = contested_classes(outcomes, NAMES)
    assert [(one.index, one.winner) for one in found] == [(1, "ear+softmax"), (0, "eye+softmax")]
    f1 = [f1_score(TRUTH, said, average=None) for said in (EYE, EAR, NOSE)]
    assert found[0].margin == pytest.approx(f1[1][1] - f1[2][1])


def test_a_class_that_two_tell_equally_well_is_not_contested():
    outcomes = by_hand(TRUTH, {"eye": [EYE], "ear": [EYE]}, singles=["eye", "ear"])
    assert contested_classes(outcomes, NAMES[:2]) == []
    assert contested_classes(outcomes, NAMES[:1]) == []


def test_accuracy_where_the_backbones_disagree(outcomes):
    where = disagreement(outcomes, NAMES)
    assert np.flatnonzero(where[0]).tolist() == [1, 3, 6, 7, 8]
    assert accuracy_where(outcomes, "eye+softmax", where) == pytest.approx(3 / 5)
    assert np.isnan(accuracy_where(outcomes, "eye+softmax", np.zeros_like(where)))


def test_shares_are_averaged_class_by_class():
    shares = {"auto": (["x", "y"], [[1, 0], [0, 1], [0.5, 0.5], [0.5, 0.5]])}
    outcomes = by_hand([0, 0, 1, 1], {"auto": [[0, 0, 1, 1]], "eye": [[0, 0, 1, 1]]}, ["eye"], shares, classes=3)
    names, values = outcomes.mean_shares("auto")
    assert list(names) == ["x", "y"]
    np.testing.assert_allclose(values, [[0.5, 0.5], [0.5, 0.5], [np.nan, np.nan]])
    assert outcomes.mean_shares("eye+softmax") is None
