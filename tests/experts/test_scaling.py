import numpy as np
import pytest

from manyeyes.experts.scaling import column_scales


def test_a_column_is_divided_by_its_own_deviation_or_the_median_one_of_its_block() -> None:
    deviations = np.array([1.0, 2.0, 3.0, 100.0, 300.0, 200.0])
    centred = np.array([[1.0], [-1.0]]) * deviations
    np.testing.assert_allclose(column_scales(centred, np.zeros(6), (3, 3)), [2, 2, 3, 200, 300, 200])
    np.testing.assert_allclose(column_scales(centred, np.zeros(6), (6,)), [51.5, 51.5, 51.5, 100, 300, 200])


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_constant_columns_are_divided_by_one_and_no_median_counts_them(value: float) -> None:
    X = np.column_stack([np.full((50, 3), value), np.linspace(0, 5, 50)])
    mean = X.mean(axis=0)
    scales = column_scales(X - mean, mean, (4,))
    assert scales[:3].tolist() == [1, 1, 1]
    np.testing.assert_allclose(scales[3], X[:, 3].std())


def test_widths_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match=r"blocks \(2, 3\) want 5 columns, X has 6"):
        column_scales(np.zeros((4, 6)), np.zeros(6), (2, 3))
