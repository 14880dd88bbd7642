import numpy as np
import pytest

from manyeyes.errors import UnknownNameError
from manyeyes.experts.kernel_ridge import KernelRidge
from manyeyes.experts.lesson import Lesson
from manyeyes.experts.panel import ExpertPanel, Member
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.features.table import FeatureTable

RNG = np.random.default_rng(0)
Y = np.array(["cat", "dog", "owl"] * 10)
TABLE = FeatureTable({"b": RNG.normal(size=(30, 4)).astype(np.float32), "a": RNG.normal(size=(30, 2)).astype("f4")})
SINGLE: tuple[Member, ...] = (("softmax", ("b",)), ("softmax", ("a",)))


def test_a_panel_is_its_experts_side_by_side() -> None:
    heard: list[str] = []
    lesson = Lesson(TABLE, Y, class_weight={"cat": 2.0}, random_state=5, fitted=heard.append)
    panel = ExpertPanel(SINGLE).fit(lesson)
    assert heard == ["softmax on b", "softmax on a"]
    assert panel.names_ == ["b", "a"]
    assert panel.classes_.tolist() == ["cat", "dog", "owl"]
    for k, name in enumerate(panel.names_):
        alone = SoftmaxRegression(class_weight={"cat": 2.0}, random_state=5).fit(TABLE.blocks[name], Y)
        assert np.array_equal(panel.out_of_fold_[:, k], alone.out_of_fold_)
        assert np.array_equal(panel.log_proba(TABLE)[:, k], alone.predict_log_proba(TABLE.blocks[name]))
        assert np.array_equal(panel.opinion(k, TABLE), panel.log_proba(TABLE)[:, k])


def test_blocks_are_found_by_name() -> None:
    panel = ExpertPanel((("kernel-ridge", ("b",)), ("kernel-ridge", ("a",)))).fit(Lesson(TABLE, Y))
    turned = FeatureTable({name: TABLE.blocks[name] for name in "ab"})
    assert np.array_equal(panel.log_proba(turned), panel.log_proba(TABLE))


def test_an_expert_may_look_at_several_blocks() -> None:
    panel = ExpertPanel((("softmax", ("a",)), ("kernel-ridge", ("a", "b")))).fit(Lesson(TABLE, Y))
    assert panel.names_ == ["a", "all blocks: kernel-ridge"]
    X = np.concatenate([TABLE.blocks["a"], TABLE.blocks["b"]], axis=1)
    together = KernelRidge((2, 4)).fit(X, Y)
    assert np.array_equal(panel.opinion(1, TABLE), together.predict_log_proba(X))
    inputs = panel.inputs(TABLE)
    assert list(inputs.blocks) == panel.names_
    assert np.array_equal(inputs.blocks["all blocks: kernel-ridge"], X)


def test_a_gate_sees_the_table_itself_when_every_expert_has_its_own_block() -> None:
    panel = ExpertPanel(SINGLE).fit(Lesson(TABLE, Y))
    assert panel.inputs(TABLE) is TABLE


def test_experts_of_one_lesson_are_fitted_once_for_all_panels() -> None:
    heard: list[str] = []
    lesson = Lesson(TABLE, Y, fitted=heard.append)
    first = ExpertPanel(SINGLE).fit(lesson)
    second = ExpertPanel((*SINGLE[::-1], ("kernel-ridge", ("a",)))).fit(lesson)
    assert heard == ["softmax on b", "softmax on a", "kernel-ridge on a"]
    assert first.experts_ == second.experts_[1::-1]
    assert second.names_ == ["a: softmax", "b", "a: kernel-ridge"]


def test_an_expert_says_the_same_of_a_table_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fusions that share experts share what these say of new photos."""
    lesson = Lesson(TABLE, Y)
    panels = [ExpertPanel(SINGLE).fit(lesson) for _ in range(2)]
    asked: list[int] = []
    predict = SoftmaxRegression.predict_log_proba
    monkeypatch.setattr(
        SoftmaxRegression, "predict_log_proba", lambda self, X: asked.append(len(X)) or predict(self, X)
    )
    new = TABLE[np.arange(7)]
    for panel in (*panels, panels[0]):
        panel.log_proba(new)
    assert asked == [7, 7]
    panels[0].log_proba(TABLE[np.arange(3)])
    assert asked == [7, 7, 3, 3]


def test_an_unknown_expert_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match=r"'oracle' is not one of the experts: .*kernel-ridge.*softmax"):
        ExpertPanel((("oracle", ("a",)),)).fit(Lesson(TABLE, Y))
