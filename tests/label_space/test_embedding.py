import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyeyes.features.table import FeatureTable, SourceLabels, backbone_of
from manyeyes.label_space.embedding import embed, has_labels, is_label_block, label_block, shares

RNG = np.random.default_rng(0)


def labels(rows: int, count: int = 10) -> SourceLabels:
    index = np.stack([RNG.permutation(1000)[:count] for _ in range(rows)]).astype(np.int16)
    return SourceLabels(index, -np.sort(-RNG.random((rows, count)), axis=1).astype(np.float32))


def test_it_is_equation_7() -> None:
    top, vectors = labels(6), RNG.normal(size=(1000, 30)).astype(np.float32)
    for row, placed in enumerate(embed(top, vectors)):
        best = range(5)
        above = sum(top.probability[row, j] * vectors[top.index[row, j]] for j in best)
        np.testing.assert_allclose(placed, above / sum(top.probability[row, j] for j in best), rtol=1e-4, atol=1e-5)


@given(st.integers(1, 10), st.integers(1, 20))
def test_shares_sum_to_one_however_many_labels_there_are(count: int, rows: int) -> None:
    assert shares(labels(rows, count)).shape == (rows, min(count, 5))
    np.testing.assert_allclose(shares(labels(rows, count)).sum(axis=1), 1, rtol=1e-5)


def test_a_block_of_a_label_space_is_known_by_its_name() -> None:
    name = label_block("resnet50", "/home/me/glove.6B.300d.txt")
    assert is_label_block(name) and backbone_of(name) == "resnet50"
    assert not is_label_block("resnet50") and not is_label_block("resnet50/second-order")


@pytest.mark.parametrize(("highest", "expected"), [(999, True), (1000, False)])
def test_a_head_with_other_labels_is_no_head(highest: int, expected: bool) -> None:
    top = labels(4)
    top.index[2, 3] = highest
    table = FeatureTable({name: np.zeros((4, 2), np.float32) for name in "ab"}, None, {"a": top})
    assert has_labels(table, "a", 1000) is expected
    assert not has_labels(table, "b", 1000)
