import numpy as np
import pytest

from manyeyes.errors import UnknownNameError
from manyeyes.experts.panel import ExpertPanel
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.features.table import FeatureTable

RNG = np.random.default_rng(0)
Y = np.array(["cat", "dog", "owl"] * 10)
TABLE = FeatureTable({"b": RNG.normal(size=(30, 4)).astype(np.float32), "a": RNG.normal(size=(30, 2)).astype("f4")})


def test_a_panel_is_its_experts_side_by_side() -> None:
    heard: list[str] = []
    panel = ExpertPanel(class_weight={"cat": 2.0}, random_state=5).fit(TABLE, Y, done=heard.append)
    assert heard == panel.names_ == ["b", "a"]
    assert panel.classes_.tolist() == ["cat", "dog", "owl"]
    for k, name in enumerate(heard):
        alone = SoftmaxRegression(class_weight={"cat": 2.0}, random_state=5).fit(TABLE.blocks[name], Y)
        assert np.array_equal(panel.out_of_fold_[:, k], alone.out_of_fold_)
        assert np.array_equal(panel.log_proba(TABLE)[:, k], alone.predict_log_proba(TABLE.blocks[name]))


def test_blocks_are_found_by_name() -> None:
    panel = ExpertPanel("kernel-ridge").fit(TABLE, Y)
    assert np.array_equal(panel.log_proba(TABLE.select(["a", "b"])), panel.log_proba(TABLE))


def test_an_unknown_expert_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match="kernel-ridge, softmax"):
        ExpertPanel("oracle").fit(TABLE, Y)
