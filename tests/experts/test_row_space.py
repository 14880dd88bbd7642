from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.decomposition import PCA

from manyeyes.experts.row_space import RowSpace

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)
SHAPES = [(30, 6), (6, 30), (12, 12)]


def spread(rows: int, columns: int) -> Array:
    return RNG.normal(size=(rows, columns)) * np.linspace(0.5, 3, columns) + 5


@pytest.mark.parametrize("shape", SHAPES)
def test_lengths_and_angles_of_rows_are_kept_and_columns_are_orthogonal(shape: tuple[int, int]) -> None:
    X = spread(*shape)
    mean = RNG.normal(size=shape[1])
    space = RowSpace.of(X, mean)
    np.testing.assert_allclose(space.rows @ space.rows.T, (X - mean) @ (X - mean).T, atol=1e-9)
    np.testing.assert_allclose(space.rows.T @ space.rows, np.diag(space.spectrum), atol=1e-9)
    assert (np.diff(space.spectrum) >= 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_linear_map_of_the_axes_is_one_of_the_columns(shape: tuple[int, int]) -> None:
    X = spread(*shape)
    space = RowSpace.of(X, X.mean(axis=0))
    coef, intercept = RNG.normal(size=(3, space.rows.shape[1])), RNG.normal(size=3)
    on_columns, shifted = space.on_columns(coef, intercept)
    np.testing.assert_allclose(X @ on_columns.T + shifted, space.rows @ coef.T + intercept, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(on_columns, axis=1), np.linalg.norm(coef, axis=1))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_strongest_axes_are_the_principal_components(shape: tuple[int, int]) -> None:
    X = spread(*shape)
    ours, theirs = RowSpace.of(X, X.mean(axis=0)).strongest(4), PCA(4, svd_solver="full").fit(X)
    np.testing.assert_allclose(np.abs(ours.rows[:, ::-1]), np.abs(theirs.transform(X)), atol=1e-9)
    axes, _ = ours.on_columns(np.eye(4), np.zeros(4))
    np.testing.assert_allclose(np.abs(axes[::-1]), np.abs(theirs.components_), atol=1e-9)


def test_no_more_axes_than_there_are() -> None:
    X = spread(6, 30)
    space = RowSpace.of(X, X.mean(axis=0))
    assert space.rows.shape == space.strongest(1000).rows.shape == (6, 5)


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_rows_span_nothing_beside_their_mean(shape: tuple[int, int]) -> None:
    X = np.tile(RNG.normal(size=shape[1]), (shape[0], 1))
    space = RowSpace.of(X, X.mean(axis=0))
    assert space.rows.shape == (shape[0], 0)
    coef, intercept = space.on_columns(np.zeros((2, 0)), np.ones(2))
    assert not coef.any() and coef.shape == (2, shape[1]) and intercept.tolist() == [1, 1]
