"""Every method on every split: scores against scikit-learn's words, failures told, and the same side by side."""

from collections import Counter

import numpy as np
import pytest

from manyeyes.experts.lesson import Lesson
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.mixture import MixtureOfExperts
from manyeyes.fusion.stacking import Stacking
from manyeyes.study import compare as compare_module
from manyeyes.study.compare import compare, cross_validation
from manyeyes.study.methods import Kind, Method
from manyeyes.study.metrics import score
from manyeyes.study.outcomes import Split
from manyeyes.study.parallel import compare_in_parallel

from .conftest import ROWS


@pytest.fixture(scope="module")
def splits(photos):
    return cross_validation(photos[1], 2, range(2))


@pytest.fixture(scope="module")
def heard():
    return []


@pytest.fixture(scope="module")
def outcomes(photos, methods, splits, heard):
    return compare(methods, *photos, splits, done=heard.append)


def test_every_method_answers_every_split(outcomes, methods):
    assert not outcomes.failures
    assert outcomes.names() == [method.name for method in methods]
    for result in outcomes.results():
        assert len(result.scores) == 4
        assert all(0 <= scores.accuracy <= 1 and np.isfinite(scores.log_loss) for scores in result.scores)
        assert result.seconds >= 0


def test_every_photo_is_judged_once_a_seed_but_the_only_one_of_its_class(outcomes):
    assert outcomes.seeds == [0, 1]
    assert (~outcomes.judged).sum(axis=0).tolist() == [0] * (ROWS - 1) + [2]
    assert sum(len(trial.split.test) for trial in outcomes.trials) == 2 * (ROWS - 1)
    for trial in outcomes.trials:
        assert not set(trial.split.train) & set(trial.split.test)


def test_done_hears_of_every_method_on_every_split(outcomes, heard):
    assert Counter(heard) == dict.fromkeys(outcomes.names(), 4)


def test_the_oracle_is_right_just_where_any_backbone_is(outcomes):
    right = [outcomes.correct(name) for name in ("first+softmax", "second+softmax")]
    assert (outcomes.correct("oracle") == (right[0] | right[1])).all()
    assert outcomes.correct("oracle").sum() > max(one.sum() for one in right)


def test_a_given_split_is_judged_as_the_parts_alone_would_judge_it(photos, methods):
    table, y = photos
    train, test = np.arange(16, ROWS), np.arange(16)
    found = compare(methods, table, y, [Split(0, 0, train, test)], class_weight="balanced")
    scores = {result.method.name: result.scores for result in found.results()}
    labels = np.searchsorted(["cat", "dog", "owl", "yak"], y[test])
    for name, block in table.blocks.items():
        alone = SoftmaxRegression(class_weight="balanced").fit(block[train], y[train])
        assert scores[f"{name}+softmax"] == (score(alone.predict_log_proba(block[test]), labels),)
    stacking = Stacking(class_weight="balanced").fit(table[train], y[train])
    assert scores["stacking"] == (score(stacking.predict_log_proba(table[test]), labels),)


def test_what_a_gate_weighs_is_kept(photos, outcomes):
    table, y = photos
    trial = outcomes.trials[1]
    shares = trial.answers["mixture-embedding"].shares
    mixture = MixtureOfExperts(gate="embedding", random_state=trial.split.seed)
    mixture.fit(table[trial.split.train], y[trial.split.train])
    assert shares.names == ("first", "second")
    np.testing.assert_allclose(shares.values, mixture.gate_weights(table[trial.split.test]), rtol=1e-6)
    assert trial.answers["auto"].shares.names == ("first", "second")
    assert trial.answers["stacking"].shares is None


def test_an_expert_is_fitted_once_for_all_methods_of_a_split(photos, methods, monkeypatch):
    fitted = []

    class Listening(Lesson):
        def __init__(self, *given):
            super().__init__(*given, fitted=fitted.append)

    monkeypatch.setattr(compare_module, "Lesson", Listening)
    compare(methods, *photos, [Split(0, 0, np.arange(9, 27), np.arange(9))])
    assert len(fitted) == len(set(fitted))
    assert {"softmax on first", "softmax on second", "kernel-ridge on 2 blocks"} <= set(fitted)


def test_a_method_that_fails_is_told_of_and_the_others_go_on(photos, methods):
    broken = Method("no-such", Kind.RIVAL, fusion="no-such")
    table, y = photos
    found = compare([methods[0], broken], table, y, [Split(0, 0, np.arange(16, ROWS), np.arange(16))])
    assert found.names() == [methods[0].name]
    assert found.failures["no-such"].startswith("UnknownNameError: 'no-such' is not one of the fusions")
    failed = found.results()[1]
    assert failed.scores == () and failed.failure == found.failures["no-such"]


def test_probabilities_that_are_no_numbers_are_a_failure(photos, monkeypatch):
    monkeypatch.setattr(Stacking, "predict_log_proba", lambda self, table: np.full((len(table), 4), np.nan))
    stacking = Method("stacking", Kind.STACKING, fusion="stacking")
    found = compare([stacking], *photos, [Split(0, 0, np.arange(16, ROWS), np.arange(16))])
    assert found.failures == {"stacking": "FloatingPointError: some of its probabilities are not numbers"}


def test_a_method_that_fails_on_one_split_only_has_no_scores(photos, methods, monkeypatch):
    fit = Stacking.fit_lesson

    def fit_on_first(self, lesson):
        if lesson.random_state:
            raise ValueError("not\nthis one")
        return fit(self, lesson)

    monkeypatch.setattr(Stacking, "fit_lesson", fit_on_first)
    stacking = next(method for method in methods if method.name == "stacking")
    found = compare([stacking], *photos, cross_validation(photos[1], 2, range(2)))
    assert found.failures == {"stacking": "ValueError: not this one"}
    assert found.names() == [] and found.results()[0].scores == ()


def test_groups_stay_together(photos):
    table, y = photos
    groups = np.arange(ROWS) // 4
    found = compare(
        [Method("first+softmax", Kind.SINGLE, backbone="first")], table, y, cross_validation(y, 2, [0], groups), groups
    )
    for trial in found.trials:
        assert not set(groups[trial.split.train]) & set(groups[trial.split.test])
    assert found.groups.tolist() == groups.tolist()


def test_side_by_side_is_the_same_as_one_by_one(photos, methods, splits, outcomes):
    told = []
    few = [method for method in methods if method.kind is not Kind.MIXTURE]  # whose gates take seconds
    parallel = compare_in_parallel(few, *photos, splits[:2], jobs=2, advance=told.append)
    serial = compare_in_parallel(few, *photos, splits[:2], jobs=1)
    assert sum(told) == 2 * len(few)
    for one, other, direct in zip(parallel.trials, serial.trials, outcomes.trials[:2], strict=True):
        assert list(one.answers) == list(other.answers)
        for name, answers in one.answers.items():
            assert (answers.predicted == other.answers[name].predicted).all()
            assert (answers.of_truth == other.answers[name].of_truth).all()
            assert (answers.predicted == direct.answers[name].predicted).all()


def test_failures_come_back_from_other_processes(photos, splits):
    broken = Method("no-such", Kind.RIVAL, fusion="no-such")
    found = compare_in_parallel([broken], *photos, splits, jobs=2)
    assert list(found.failures) == ["no-such"]


def test_where_no_class_has_two_photos_there_is_nothing_to_compare():
    assert cross_validation(np.array(["cat", "dog", "owl", "yak"])) == []


@pytest.mark.parametrize("groups", [None, np.arange(60) // 2])
def test_few_photos_of_a_class_are_trained_on_and_as_many_as_ever_are_judged(groups):
    labels = np.repeat([0, 1, 2], [40, 17, 3])
    whole, few = (cross_validation(labels, 2, range(3), groups, per_class) for per_class in (None, 5))
    for one, other in zip(whole, few, strict=True):
        assert (one.test == other.test).all()
        assert set(other.train) <= set(one.train)
        assert np.bincount(labels[other.train]).tolist() == np.minimum(np.bincount(labels[one.train]), 5).tolist()
    assert len({tuple(split.train) for split in few}) == len(few)


def test_a_class_that_one_split_lacks_keeps_the_others_in_place():
    """Class 1 has one photo: where it is not trained on, columns shift, and answers must not."""
    rng = np.random.default_rng(0)
    labels = np.array([0, 2] * 12 + [1])
    table = FeatureTable({"eye": (labels[:, None] * 4.0 + rng.normal(size=(25, 2))).astype("f4")})
    found = compare(
        [Method("eye+softmax", Kind.SINGLE, backbone="eye")], table, labels, cross_validation(labels, 2, [0])
    )
    said = found.predicted("eye+softmax")[0]
    assert set(said.tolist()) <= {-1, 0, 1, 2} and said[-1] == -1
    assert (said[:-1] == labels[:-1]).mean() > 0.9
