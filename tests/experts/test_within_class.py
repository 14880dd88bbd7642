from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from manyeyes.experts.kernels import squared_distances
from manyeyes.experts.leave_out import rows_of_each_group
from manyeyes.experts.within_class import SHRINKAGE, WithinClassMetric

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)


def unit_rows(count: int, columns: int) -> Array:
    rows = RNG.normal(size=(count, columns))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def scatter(rows: Array, labels: Array) -> Array:
    deviations = np.concatenate([rows[labels == c] - rows[labels == c].mean(axis=0) for c in np.unique(labels)])
    product: Array = deviations.T @ deviations
    return product


def by_definition(inverse: Array, mean: Array, rows: Array, others: Array) -> Array:
    a, b = rows - mean, others - mean
    lengths = np.sqrt(np.einsum("ij,jk,ik->i", a, inverse, a)[:, None] * np.einsum("ij,jk,ik->i", b, inverse, b))
    apart: Array = 2 - 2 * (a @ inverse @ b.T) / lengths
    return apart


@pytest.mark.parametrize("columns", [5, 60])
@pytest.mark.parametrize("group_size", [1, 3])
def test_it_is_the_inverse_scatter_without_the_rows_that_are_left_out(columns: int, group_size: int) -> None:
    rows, new = unit_rows(31, columns), unit_rows(7, columns)
    labels = RNG.permutation(np.r_[np.arange(30) % 4, 4])  # a class of one photo among them
    groups = RNG.permutation(np.arange(31) // group_size)
    exact = rows.astype(np.float64)
    mean, whole = exact.mean(axis=0), scatter(exact, labels)
    shrinkage = SHRINKAGE * np.trace(whole) / min(rows.shape) * np.eye(columns)
    inverse = np.linalg.inv(whole + shrinkage)

    metric = WithinClassMetric(rows, labels)
    between, as_new = metric.between(rows_of_each_group(groups))
    np.testing.assert_allclose(between, by_definition(inverse, mean, exact, exact), atol=1e-5)
    np.testing.assert_allclose(metric.to(new), by_definition(inverse, mean, new.astype(np.float64), exact), atol=1e-5)
    for row in range(31):
        rest = groups != groups[row]
        without = np.linalg.inv(scatter(exact[rest], labels[rest]) + shrinkage)
        np.testing.assert_allclose(as_new[[row]], by_definition(without, mean, exact[[row]], exact), atol=1e-5)


def test_what_photos_of_a_class_differ_in_counts_little() -> None:
    labels = np.arange(80) % 2
    noise, telling = RNG.normal(size=80), np.where(labels == 1, 0.3, -0.3) + 0.05 * RNG.normal(size=80)
    rows = np.stack([noise, telling, np.ones(80)], axis=1)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    same = labels[:, None] == labels
    plain = squared_distances(rows, rows)
    whitened = WithinClassMetric(rows, labels).between([])[0]
    assert plain[same].mean() > 0.7 * plain[~same].mean()
    assert whitened[same].mean() < 0.3 * whitened[~same].mean()


def test_one_photo_a_class_leaves_the_angles_about_the_mean() -> None:
    rows = unit_rows(4, 9)
    between, as_new = WithinClassMetric(rows, np.arange(4)).between([])
    centred = rows - rows.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(between, 2 - 2 * centred @ centred.T, atol=1e-5)
    np.testing.assert_allclose(as_new, between, atol=1e-5)


def test_equal_rows_and_no_new_rows_are_no_trouble() -> None:
    rows = np.repeat(unit_rows(1, 6), 8, axis=0)
    metric = WithinClassMetric(rows, np.arange(8) % 2)
    assert all(np.isfinite(distances).all() for distances in metric.between([]))
    assert metric.to(rows[:0]).shape == (0, 8)


def test_a_rows_distances_do_not_depend_on_its_company() -> None:
    rows, new = unit_rows(50, 20), unit_rows(9, 20)
    metric = WithinClassMetric(rows, np.arange(50) % 3)
    alone = np.concatenate([metric.to(row[None]) for row in new])
    np.testing.assert_allclose(metric.to(new), alone, atol=1e-6)
