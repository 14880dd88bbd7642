import numpy as np
import pytest

from manyeyes.experts.lesson import Lesson
from manyeyes.features.table import FeatureTable

RNG = np.random.default_rng(0)
Y = np.array(["cat", "dog", "owl"] * 10)
TABLE = FeatureTable({name: RNG.normal(size=(30, 4)).astype(np.float32) for name in ("a", "b", "a/second-order")})


def test_an_expert_is_fitted_once_whoever_asks() -> None:
    heard: list[str] = []
    lesson = Lesson(TABLE, Y, fitted=heard.append)
    one = lesson.expert("kernel-ridge", ["a"])
    assert lesson.expert("kernel-ridge", ("a",)) is one
    assert lesson.expert("kernel-ridge", ["b"]) is not one
    assert lesson.expert("kernel-ridge", ["a", "b"]).predict_log_proba(TABLE.side_by_side(["a", "b"])).shape == (30, 3)
    assert heard == ["kernel-ridge on a", "kernel-ridge on b", "kernel-ridge on 2 blocks"]


def test_experts_of_several_blocks_are_told_their_widths() -> None:
    lesson = Lesson(TABLE, Y)
    assert lesson.expert("softmax", ["a", "a/second-order"]).blocks == (4, 4)  # type: ignore[attr-defined]
    assert lesson.expert("kernel-ridge", ["a"]).blocks is None  # type: ignore[attr-defined]


def test_experts_are_told_groups_weights_and_seed() -> None:
    groups = np.repeat(np.arange(10), 3)
    lesson = Lesson(TABLE, Y, groups, {"cat": 2.0}, random_state=5)
    expert = lesson.expert("softmax", ["a"])
    alone = type(expert)(class_weight={"cat": 2.0}, random_state=5).fit(TABLE.blocks["a"], Y, groups)  # type: ignore[call-arg]
    assert np.array_equal(expert.out_of_fold_, alone.out_of_fold_)
    assert lesson.weights.tolist() == pytest.approx((np.where(Y == "cat", 2.0, 1.0) / (4 / 3)).tolist())
    assert lesson.classes[lesson.labels].tolist() == Y.tolist()


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="inconsistent"):
        Lesson(TABLE, Y[:20])
