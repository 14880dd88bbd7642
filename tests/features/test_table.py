"""A feature table is an array of rows to numpy and to scikit-learn."""

import numpy as np
import pytest
from sklearn.model_selection import KFold, train_test_split
from sklearn.utils import _safe_indexing

from manyeyes.features.table import FeatureTable, SourceLabels

N = 12


def make(n: int = N) -> FeatureTable:
    """Row i holds i everywhere."""
    number = np.arange(n)
    return FeatureTable(
        {"a": np.repeat(number[:, None], 3, 1).astype(np.float32), "b.tap": number[:, None].astype(np.float32)},
        np.broadcast_to(number[:, None, None, None], (n, 64, 64, 3)).astype(np.uint8),
        {"a": SourceLabels(np.repeat(number[:, None], 10, 1).astype(np.int16), np.full((n, 10), number[:, None] / n))},
    )


def check(table: FeatureTable, rows: list[int]) -> None:
    """The table has just these rows of :func:`make`, in every part."""
    assert isinstance(table, FeatureTable)
    assert len(table) == len(rows)
    assert table.shape == (len(rows), 4)
    assert table.names == ("a", "b.tap")
    for part in (*table.blocks.values(), table.thumbnails, table.source_labels["a"].index):
        np.testing.assert_array_equal(part.reshape(len(rows), -1).mean(axis=1), rows)
    np.testing.assert_allclose(table.source_labels["a"].probability[:, 0], np.array(rows) / N)
    assert table.blocks["a"].dtype == np.float32 and table.thumbnails.dtype == np.uint8


MASK = np.arange(N) % 3 == 0
ROWS = {
    "mask": (MASK, [0, 3, 6, 9]),
    "list of bools": (MASK.tolist(), [0, 3, 6, 9]),
    "slice": (slice(2, 8, 2), [2, 4, 6]),
    "backwards": (slice(None, None, -1), list(range(N))[::-1]),
    "ints": (np.array([5, 0, 5, -1]), [5, 0, 5, N - 1]),
    "list of ints": ([7, 1], [7, 1]),
}


@pytest.mark.parametrize("kind", ROWS)
def test_rows_by_index(kind):
    index, rows = ROWS[kind]
    check(make()[index], rows)


@pytest.mark.parametrize("kind", ROWS)
def test_rows_by_scikit_learn(kind):
    index, rows = ROWS[kind]
    check(_safe_indexing(make(), index), rows)


def test_no_rows():
    none = make()[[]]
    assert len(none) == 0
    assert none.shape == (0, 4)


def test_a_single_row_number_is_no_table():
    for table in (make(), FeatureTable({"a": np.ones((5, 2), np.float32)})):
        with pytest.raises(ValueError, match=r"shape \(n, D\)"):
            table[3]


def test_a_table_of_blocks_only():
    bare = FeatureTable({"a": np.ones((5, 2), np.float32)})[1:3]
    assert (bare.thumbnails, bare.source_labels, bare.shape) == (None, {}, (2, 2))


def test_train_test_split():
    y = np.arange(N)
    train, test, y_train, y_test = train_test_split(make(), y, test_size=0.25, random_state=0)
    check(train, y_train.tolist())
    check(test, y_test.tolist())
    assert sorted([*y_train, *y_test]) == list(range(N))


def test_folds():
    table = make()
    for train, test in KFold(3, shuffle=True, random_state=0).split(table):
        check(table[train], train.tolist())
        check(table[test], test.tolist())


def test_select_takes_blocks_in_the_order_given():
    table = make()
    assert table.select(["b.tap", "a"]).names == ("b.tap", "a")
    only = table.select(["b.tap"])
    assert only.shape == (N, 1)
    assert only.source_labels == {}
    assert only.thumbnails is table.thumbnails
    assert table.select(["a"]).source_labels.keys() == {"a"}
    with pytest.raises(KeyError):
        table.select(["c"])


def test_concatenated_puts_the_blocks_side_by_side():
    table = FeatureTable({"b": np.full((2, 1), 7, np.float32), "a": np.arange(4, dtype=np.float32).reshape(2, 2)})
    np.testing.assert_array_equal(table.concatenated(), [[7, 0, 1], [7, 2, 3]])
    assert table.concatenated().dtype == np.float32


BLOCK = np.zeros((3, 2), np.float32)
TOP = np.zeros((3, 10), np.int16), np.zeros((3, 10), np.float32)


@pytest.mark.parametrize(
    "parts",
    [
        ({"a": BLOCK, "b": BLOCK[:2]},),
        ({"a": BLOCK}, np.zeros((4, 64, 64, 3), np.uint8)),
        ({"a": BLOCK}, None, {"a": SourceLabels(TOP[0][:2], TOP[1])}),
        ({"a": BLOCK}, None, {"a": SourceLabels(TOP[0], TOP[1][:1])}),
    ],
    ids=["blocks", "thumbnails", "label index", "label probability"],
)
def test_parts_of_different_lengths_make_no_table(parts):
    with pytest.raises(ValueError, match="the same number of rows"):
        FeatureTable(*parts)


@pytest.mark.parametrize("blocks", [{}, {"a": np.zeros(3, np.float32)}, {"a": BLOCK, "b": np.zeros((3, 2, 2))}])
def test_blocks_have_rows_and_columns(blocks):
    with pytest.raises(ValueError, match=r"one block or more, each of shape \(n, D\)"):
        FeatureTable(blocks)
