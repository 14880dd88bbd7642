import numpy as np
import pytest

from manyeyes.backbones.nets import FINAL, SECOND_ORDER
from manyeyes.experts.kernels import prepare, squared_distances, weighted_mean

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 13)).astype(np.float32)


@pytest.mark.parametrize("tap", [FINAL, SECOND_ORDER])
def test_distances_are_those_of_rows_of_one_length_and_of_roots_of_final_features(tap: str) -> None:
    before = X.copy()
    rows = prepare(X, tap)
    roots = np.sign(X) * abs(X) ** 0.5 if tap == FINAL else X
    units = roots / np.linalg.norm(roots, axis=1, keepdims=True)
    expected = ((units[:, None] - units[None, :5]) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared_distances(rows, rows[:5]), expected, atol=1e-6)
    assert np.array_equal(X, before)


def test_the_mean_leaves_what_it_is_made_of() -> None:
    distances = [RNG.uniform(size=(3, 4)).astype(np.float32) for _ in range(2)]
    kept = [one.copy() for one in distances]
    mean = weighted_mean(distances, np.array([0.25, 0.75]))
    np.testing.assert_allclose(mean, 0.25 * kept[0] + 0.75 * kept[1], rtol=1e-6)
    assert all(map(np.array_equal, distances, kept))


def test_a_row_of_zeros_stays_one() -> None:
    rows = prepare(np.zeros((2, 13), np.float32), FINAL)
    assert not rows.any()
    assert not squared_distances(rows, rows).any()
