"""Second-order pooling against numpy and scipy, written down as in the papers."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from manyeyes.backbones.second_order import CHANNELS, DIMENSION
from manyeyes.backbones.second_order.pooling import block_of_moments, learn_projection, moments

SEEDS = st.integers(0, 2**31)


def pool(maps: Tensor, projection: Tensor) -> Tensor:
    return block_of_moments(moments(maps, projection))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def matrix_root(positions: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """The square root of the moments of what is seen at each position, (C, n) → (64, 64)."""
    projected = projection.astype(float) @ positions.astype(float)
    moments = projected @ projected.T / projected.shape[1]
    # scipy roots no singular matrix.
    return scipy.linalg.sqrtm(moments + 1e-10 * np.eye(CHANNELS)).real


def triangle(matrix: np.ndarray) -> np.ndarray:
    """Row by row from the diagonal on, what stands beside it times √2; of length one."""
    entries = [matrix[i, j] * (1 if i == j else np.sqrt(2)) for i in range(len(matrix)) for j in range(i, len(matrix))]
    return np.array(entries) / np.linalg.norm(entries)


@pytest.mark.parametrize("channels", [64, 100, 20])
def test_it_is_what_numpy_says(channels: int) -> None:
    maps, projection = random(3, channels, 150), random(CHANNELS, channels, seed=1)
    projection[channels:] = 0
    blocks = pool(maps, projection)
    assert (blocks.shape, blocks.dtype) == ((3, DIMENSION), torch.float32)
    for block, positions in zip(blocks, maps, strict=True):
        expected = triangle(matrix_root(positions.numpy(), projection.numpy()))
        np.testing.assert_allclose(block, expected, atol=2e-4)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 80))
def test_distances_are_those_of_the_matrices(seed: int, positions: int) -> None:
    maps, projection = random(2, 70, positions, seed=seed), random(CHANNELS, 70, seed=1)
    blocks = pool(maps, projection).numpy()
    np.testing.assert_allclose(np.linalg.norm(blocks, axis=1), 1, atol=1e-5)
    one, other = (matrix_root(each.numpy(), projection.numpy()) for each in maps)
    frobenius = np.linalg.norm(one / np.linalg.norm(one) - other / np.linalg.norm(other))
    np.testing.assert_allclose(np.linalg.norm(blocks[0] - blocks[1]), frobenius, atol=5e-3)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(0.01, 100))
def test_neither_the_order_of_the_positions_nor_the_scale_matters(seed: int, scale: float) -> None:
    maps, projection = random(1, 70, 30, seed=seed), random(CHANNELS, 70, seed=1)
    shuffled = maps[:, :, np.random.default_rng(seed).permutation(30)]
    np.testing.assert_allclose(pool(scale * shuffled, projection), pool(maps, projection), atol=2e-3)


def test_a_map_of_nothing_is_nothing() -> None:
    assert pool(torch.zeros(2, 70, 9), random(CHANNELS, 70)).abs().max() == 0


def test_half_precision_maps_are_pooled_in_full_precision() -> None:
    maps, projection = random(2, 70, 100), random(CHANNELS, 70, seed=1)
    blocks = pool(maps.bfloat16(), projection)
    assert blocks.dtype == torch.float32
    torch.testing.assert_close(blocks, pool(maps.bfloat16().float(), projection))


def test_a_projection_leaves_principal_directions_with_the_root_of_their_variance() -> None:
    mixing = random(90, 90, seed=2)
    maps = [mixing @ random(4, 90, 60, seed=seed) + 3 for seed in range(5)]
    projection = learn_projection(maps)
    assert (projection.shape, projection.dtype) == ((CHANNELS, 90), torch.float32)
    rows = torch.cat([each.transpose(1, 2).flatten(0, 1) for each in maps]).double().numpy()
    covariance = np.cov(rows.T, bias=True)
    variances = np.sort(np.linalg.eigvalsh(covariance))[::-1][:CHANNELS]
    P = projection.double().numpy()
    np.testing.assert_allclose(P @ covariance @ P.T, np.diag(np.sqrt(variances)), atol=1e-3 * np.sqrt(variances[0]))


def test_the_same_maps_in_other_batches_give_the_same_projection() -> None:
    maps = random(12, 80, 40)
    together = learn_projection([maps])
    torch.testing.assert_close(learn_projection(maps.split(5)), together, atol=1e-4, rtol=1e-4)
    assert torch.equal(learn_projection([maps]), together)


def test_the_largest_entry_of_every_direction_is_positive() -> None:
    projection = learn_projection([random(4, 80, 40)])
    assert (projection.gather(1, projection.abs().argmax(dim=1, keepdim=True)) > 0).all()


def test_channels_that_never_change_are_left_out() -> None:
    maps = random(3, 10, 50)
    maps[:, 4:] = 7.0
    projection = learn_projection([maps])
    assert (projection[:4].abs().sum(dim=1) > 0).all()
    assert projection[4:].abs().max() == 0
    assert projection[:, 4:].abs().max() < 1e-4
    assert pool(maps, projection).isfinite().all()
