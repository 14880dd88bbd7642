from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from manyeyes.experts import EXPERTS
from manyeyes.experts.calibration import tempered
from manyeyes.features.table import FeatureTable
from manyeyes.fusion import FUSIONS

Clouds = Callable[..., tuple[FeatureTable, npt.NDArray[np.int64]]]
EXPERT_OF = {
    "concat+softmax": "softmax",
    "concat+svm": "linear-svm",
    "concat+raw+svm": "raw-linear-svm",
    "concat+pca+svm": "pca-linear-svm",
    "concat+ridge": "ridge",
    "concat+kernel-ridge": "kernel-ridge",
    "concat+lda": "lda",
}


def test_no_concatenation_is_forgotten() -> None:
    assert set(EXPERT_OF) == {name for name in FUSIONS.names() if name.startswith("concat+")}


@pytest.mark.parametrize("name", EXPERT_OF)
def test_a_concatenation_is_one_expert_on_all_columns(clouds: Clouds, name: str) -> None:
    table, y = clouds(60)
    X = table.concatenated()
    model = FUSIONS[name](class_weight="balanced", random_state=1).fit(table, y)
    expert = EXPERTS[EXPERT_OF[name]](blocks=(4, 5, 6), class_weight="balanced", random_state=1).fit(X, y)
    assert np.array_equal(model.predict_log_proba(table), tempered(expert.predict_log_proba(X), model.temperature_))


@pytest.mark.parametrize("name", EXPERT_OF)
def test_a_concatenation_beats_what_its_best_block_can(clouds: Clouds, name: str) -> None:
    table, y = clouds(240, apart=(0.8, 0.8, 0.8))
    train, test = np.arange(120), np.arange(120, 240)
    all_blocks, *alone = (
        (FUSIONS[name]().fit(blocks[train], y[train]).predict(blocks[test]) == y[test]).mean()
        for blocks in (table, *(table.select([block]) for block in table.names))
    )
    assert all_blocks > max(alone)
