from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from manyeyes.experts.panel import ExpertPanel
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.stacking import Stacking
from manyeyes.study.compare import BOUND, GATE, RIVAL, SINGLE, Comparison, Result
from manyeyes.study.metrics import Scores, score

Labels = npt.NDArray[np.str_]
ROWS = 48


@pytest.fixture(scope="module")
def photos() -> tuple[FeatureTable, Labels]:
    """Two blocks that each tell one of three classes from the others, and one photo of a fourth class."""
    rng = np.random.default_rng(0)
    labels = np.arange(ROWS) % 3
    labels[-1] = 3
    blocks = {
        name: (np.eye(4)[labels][:, [k, 3]] @ rng.normal(size=(2, 5)) * 2 + rng.normal(size=(ROWS, 5))).astype("f4")
        for k, name in enumerate(("first", "second"))
    }
    thumbnails = rng.integers(0, 256, (ROWS, 16, 16, 3), np.uint8)
    return FeatureTable(blocks, thumbnails), np.array(["cat", "dog", "owl", "yak"])[labels]


COMPARISON = Comparison(expert="kernel-ridge", thumbnail=8, random_state=1)


@pytest.fixture(scope="module")
def halves(photos: tuple[FeatureTable, Labels]) -> tuple[list[Result], list[str]]:
    """Two-fold cross-validation, and the steps that were reported."""
    heard: list[str] = []
    return COMPARISON.cross_validate(*photos, count=2, done=heard.append), heard


def test_every_method_is_there(halves: tuple[list[Result], list[str]]) -> None:
    results, _ = halves
    assert [(result.method, result.kind) for result in results] == [
        ("first", SINGLE),
        ("second", SINGLE),
        ("best single, by cross-validation", RIVAL),
        ("uniform mean", RIVAL),
        ("concat + softmax regression", RIVAL),
        ("concat + RBF kernel ridge", RIVAL),
        ("stacking", RIVAL),
        ("mixture, constant gate", GATE),
        ("mixture, embedding gate", GATE),
        ("mixture, cnn-8 gate", GATE),
        ("oracle: any backbone right", BOUND),
    ]


def test_each_half_is_judged_once_without_the_class_of_one_photo(halves: tuple[list[Result], list[str]]) -> None:
    results, _ = halves
    for result in results:
        assert len(result.scores) == 2
        assert sum(scores.photos for scores in result.scores) == ROWS - 1
        assert all(0 <= scores.accuracy <= 1 and np.isfinite(scores.log_loss) for scores in result.scores)


def test_every_step_of_every_split_is_reported(
    photos: tuple[FeatureTable, Labels], halves: tuple[list[Result], list[str]]
) -> None:
    results, heard = halves
    steps = Counter(heard)
    assert len(heard) == 2 * COMPARISON.steps(photos[0])
    assert set(steps) == {result.method for result in results if result.kind != BOUND}
    assert set(steps.values()) == {2}


def test_the_oracle_is_at_least_as_good_as_every_backbone(halves: tuple[list[Result], list[str]]) -> None:
    results, _ = halves
    oracle = results[-1]
    for result in results:
        if result.kind == SINGLE:
            for bound, alone in zip(oracle.scores, result.scores, strict=True):
                assert bound.accuracy >= alone.accuracy
    assert oracle.mean("accuracy") > max(result.mean("accuracy") for result in results if result.kind == SINGLE)


def test_a_given_split_is_judged_on_its_test_rows(photos: tuple[FeatureTable, Labels]) -> None:
    table, y = photos
    train, test = np.arange(16, ROWS), np.arange(16)
    heard: list[str] = []
    comparison = Comparison(thumbnail=8, class_weight="balanced")
    results = {result.method: result for result in comparison.hold_out(table, y, train, test, done=heard.append)}
    assert len(heard) == comparison.steps(table)

    labels = np.searchsorted(["cat", "dog", "owl", "yak"], y[test])
    opinions = []
    for name, block in table.blocks.items():
        alone = SoftmaxRegression(class_weight="balanced").fit(block[train], y[train])
        opinions.append(alone.predict_log_proba(block[test]))
        assert results[name].scores == (score(opinions[-1], labels),)
    stacking = Stacking(class_weight="balanced").fit(table[train], y[train])
    assert results["stacking"].scores == (score(stacking.predict_log_proba(table[test]), labels),)
    is_any_right = (np.array(opinions).argmax(axis=2) == labels).any(axis=0)
    oracle = results["oracle: any backbone right"]
    assert oracle.mean("accuracy") == is_any_right.mean() and oracle.spread("accuracy") == 0


def test_all_methods_share_one_panel(photos: tuple[FeatureTable, Labels], monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[ExpertPanel] = []
    fit = ExpertPanel.fit

    def counted(panel: ExpertPanel, *args: Any) -> ExpertPanel:
        fitted.append(panel)
        return fit(panel, *args)

    monkeypatch.setattr(ExpertPanel, "fit", counted)
    COMPARISON.hold_out(*photos, train=np.arange(9, 27), test=np.arange(9))
    assert len(fitted) == 1


def test_where_no_class_has_two_photos_there_is_nothing_to_compare(photos: tuple[FeatureTable, Labels]) -> None:
    table, _ = photos
    assert COMPARISON.cross_validate(table[:4], np.array(["cat", "dog", "owl", "yak"])) == []


def test_results_are_summed_up_over_splits() -> None:
    result = Result("a", SINGLE, (Scores(0.5, 0.4, 1.0, 0.1, 10), Scores(0.7, 0.6, 2.0, 0.1, 12)))
    assert result.mean("accuracy") == pytest.approx(0.6)
    assert result.spread("log_loss") == pytest.approx(0.5)
