from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from manyeyes.experts.leave_out import rows_of_each_group, solve_leaving_out, solve_on_landmarks

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 5))
KERNEL = np.exp(-0.1 * ((X[:, None] - X[None]) ** 2).sum(axis=2))
TARGETS = RNG.normal(size=(24, 3))
WEIGHTS = RNG.uniform(0.5, 2, 24)
GROUPS = np.repeat(np.arange(12), 2)
GROUPS[1] = 30


def by_refitting(kernel: Array, groups: Array, strength: float) -> Array:
    outputs = np.empty_like(TARGETS)
    for group in np.unique(groups):
        held, rest = np.flatnonzero(groups == group), np.flatnonzero(groups != group)
        ridge = kernel[np.ix_(rest, rest)] + np.diag(strength / WEIGHTS[rest])
        outputs[held] = kernel[np.ix_(held, rest)] @ np.linalg.solve(ridge, TARGETS[rest])
    return outputs


@pytest.mark.parametrize("groups", [None, GROUPS])
@pytest.mark.parametrize("strength", [1e-3, 0.3])
def test_it_is_refitting_without_those_rows(groups: Array | None, strength: float) -> None:
    outputs, coefficients = solve_leaving_out(KERNEL.copy(), TARGETS, strength, WEIGHTS, rows_of_each_group(groups))
    expected = by_refitting(KERNEL, np.arange(24) if groups is None else groups, strength)
    np.testing.assert_allclose(outputs, expected, atol=1e-8)
    ridge = KERNEL + np.diag(strength / WEIGHTS)
    np.testing.assert_allclose(coefficients, np.linalg.solve(ridge, TARGETS), atol=1e-8)


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_a_kernel_that_differs_for_new_rows_meets_coefficients_of_the_others(groups: Array | None) -> None:
    as_new = KERNEL * RNG.uniform(0.5, 1, KERNEL.shape)
    outputs, _ = solve_leaving_out(KERNEL.copy(), TARGETS, 0.1, WEIGHTS, rows_of_each_group(groups), as_new)
    own = np.arange(24) if groups is None else groups
    for group in np.unique(own):
        held, rest = np.flatnonzero(own == group), np.flatnonzero(own != group)
        ridge = KERNEL[np.ix_(rest, rest)] + np.diag(0.1 / WEIGHTS[rest])
        expected = as_new[np.ix_(held, rest)] @ np.linalg.solve(ridge, TARGETS[rest])
        np.testing.assert_allclose(outputs[held], expected, atol=1e-8)


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_with_every_row_a_landmark_both_ways_agree(groups: Array | None) -> None:
    together = rows_of_each_group(groups)
    exact = solve_leaving_out(KERNEL.copy(), TARGETS, 0.1, WEIGHTS, together)
    landmarks = solve_on_landmarks(KERNEL, KERNEL, TARGETS, 0.1, WEIGHTS, together)
    np.testing.assert_allclose(landmarks[0], exact[0], atol=1e-4)
    np.testing.assert_allclose(KERNEL @ landmarks[1], KERNEL @ exact[1], atol=1e-4)


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_with_few_landmarks_it_is_refitting_too(groups: Array | None) -> None:
    chosen = np.arange(0, 24, 3)
    to, between = KERNEL[:, chosen], KERNEL[np.ix_(chosen, chosen)] + 1e-7 * np.eye(8)
    outputs, _ = solve_on_landmarks(
        to, KERNEL[np.ix_(chosen, chosen)], TARGETS, 0.1, WEIGHTS, rows_of_each_group(groups)
    )
    own = np.arange(24) if groups is None else groups
    for group in np.unique(own):
        held, rest = own == group, own != group
        normal = (to[rest] * WEIGHTS[rest, None]).T @ to[rest] + 0.1 * between
        coefficients = np.linalg.solve(normal, (to[rest] * WEIGHTS[rest, None]).T @ TARGETS[rest])
        np.testing.assert_allclose(outputs[held], to[held] @ coefficients, atol=1e-6)


def test_a_row_of_no_weight_is_predicted_like_a_new_one() -> None:
    weights = WEIGHTS.copy()
    weights[0] = 0
    outputs, coefficients = solve_leaving_out(KERNEL.copy(), TARGETS, 0.1, weights, [])
    assert np.isfinite(outputs).all()
    np.testing.assert_allclose(coefficients[0], 0, atol=1e-6)


def test_only_groups_of_several_rows_are_listed() -> None:
    assert [rows.tolist() for rows in rows_of_each_group(np.array(["b", "a", "b", "c"]))] == [[0, 2]]
    assert rows_of_each_group(None) == []
