from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from manyeyes.experts.calibration import tempered
from manyeyes.experts.lesson import Lesson
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.best_single import BestSingle
from manyeyes.fusion.concatenation import ConcatSoftmax
from manyeyes.fusion.stacking import Stacking

Labels = npt.NDArray[np.int64]
Clouds = Callable[..., tuple[FeatureTable, Labels]]


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_stacking_is_softmax_regression_on_the_mean_opinion(clouds: Clouds, class_weight: str | None) -> None:
    table, y = clouds(60, p=[0.5, 0.3, 0.2])
    new = clouds(40, seed=1)[0]
    experts = [SoftmaxRegression(class_weight=class_weight).fit(block, y) for block in table.blocks.values()]
    honest = np.mean([np.exp(expert.out_of_fold_) for expert in experts], axis=0)
    second = SoftmaxRegression(class_weight=class_weight).fit(honest, y)
    opinions = [expert.predict_proba(block) for expert, block in zip(experts, new.blocks.values(), strict=True)]
    model = Stacking(class_weight=class_weight).fit(table, y)
    expected = tempered(second.predict_log_proba(np.mean(opinions, axis=0)), model.temperature_)
    np.testing.assert_allclose(model.predict_log_proba(new), expected, atol=1e-9)


@pytest.mark.parametrize("best", range(3))
def test_best_single_is_the_best_expert_and_nothing_else(clouds: Clouds, best: int) -> None:
    table, y = clouds(60, apart=np.where(np.arange(3) == best, 1.5, 0.3))
    model = BestSingle().fit(table, y)
    assert model.chosen_ == "abc"[best]
    block = table.blocks[model.chosen_]
    expected = tempered(SoftmaxRegression().fit(block, y).predict_log_proba(block), model.temperature_)
    assert np.array_equal(model.predict_log_proba(table), expected)


def test_best_single_is_chosen_out_of_fold(clouds: Clouds) -> None:
    """Kernel ridge can learn a block of noise by heart, which must not impress."""
    table, y = clouds(60, apart=[0.8])
    noise = np.random.default_rng(0).normal(size=(60, 500)).astype(np.float32)
    assert BestSingle("kernel-ridge").fit(FeatureTable({"noise": noise, **table.blocks}), y).chosen_ == "a"


@pytest.mark.parametrize("surer", ["a", "b"])
def test_among_equally_accurate_experts_the_likelier_one_is_chosen(clouds: Clouds, surer: str) -> None:
    table, y = clouds(30, apart=[4.0, 4.0])
    lesson = Lesson(table, y)
    for name in "ab":
        lesson.expert("softmax", (name,)).out_of_fold_ = tempered(8 * np.eye(3)[y], 1.0 if name == surer else 2.0)
    assert BestSingle().fit_lesson(lesson).chosen_ == surer


def test_accuracy_counts_before_likelihood(clouds: Clouds) -> None:
    table, y = clouds(30, apart=[4.0, 4.0])
    lesson = Lesson(table, y)
    timid, sure = (lesson.expert("softmax", (name,)) for name in "ab")
    timid.out_of_fold_ = np.log(np.full((30, 3), 0.3) + 0.1 * np.eye(3)[y])
    claimed = np.where(np.arange(30) < 3, (y + 1) % 3, y)
    sure.out_of_fold_ = np.log(np.full((30, 3), 0.01) + 0.97 * np.eye(3)[claimed])
    right = [expert.out_of_fold_[np.arange(30), y].mean() for expert in (timid, sure)]
    assert right[0] < right[1]
    assert BestSingle().fit_lesson(lesson).chosen_ == "a"


def test_rivals_of_one_lesson_share_their_experts(clouds: Clouds) -> None:
    table, y = clouds(60)
    heard: list[str] = []
    lesson = Lesson(table, y, fitted=heard.append)
    shared = [model.fit_lesson(lesson) for model in (BestSingle(), Stacking(), ConcatSoftmax())]
    assert heard == ["softmax on a", "softmax on b", "softmax on c", "softmax on 3 blocks"]
    for model in shared:
        alone = type(model)().fit(table, y)
        assert np.array_equal(model.predict_log_proba(table), alone.predict_log_proba(table))


def test_a_lesson_with_other_weights_or_another_seed_is_refused(clouds: Clouds) -> None:
    table, y = clouds(30)
    for lesson in (Lesson(table, y, class_weight="balanced"), Lesson(table, y, random_state=1)):
        with pytest.raises(ValueError, match=r"the lesson has class_weight=.*, Stacking has class_weight=None and"):
            Stacking().fit_lesson(lesson)
