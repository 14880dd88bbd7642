import numpy as np

from manyeyes.backbones.nets import FINAL, SECOND_ORDER
from manyeyes.experts.kernel_ridge import KernelRidge
from manyeyes.experts.kernels import prepare, squared_distances, tap_distances, weighted_mean

RNG = np.random.default_rng(0)
WIDTHS, TAPS = (4, 3, 6), (FINAL, SECOND_ORDER, SECOND_ORDER)
X = RNG.normal(size=(7, 13)).astype(np.float32)


def test_a_taps_distances_are_the_mean_over_its_blocks() -> None:
    rows = prepare(X, WIDTHS, TAPS)
    final, second = tap_distances(rows, rows[:5], WIDTHS, TAPS)
    blocks = np.split(X.astype(np.float64), [4, 7], axis=1)
    blocks[0] = np.sign(blocks[0]) * abs(blocks[0]) ** 0.5
    units = [block / np.linalg.norm(block, axis=1, keepdims=True) for block in blocks]
    apart = [((unit[:, None] - unit[None, :5]) ** 2).sum(axis=2) for unit in units]
    np.testing.assert_allclose(final, apart[0], atol=1e-6)
    np.testing.assert_allclose(second, (apart[1] + apart[2]) / 2, atol=1e-6)


def test_what_is_given_is_not_changed() -> None:
    before = X.copy()
    distances = tap_distances(*(prepare(X, WIDTHS, TAPS),) * 2, WIDTHS, TAPS)
    kept = [one.copy() for one in distances]
    mean = weighted_mean(distances, np.array([0.25, 0.75]))
    np.testing.assert_allclose(mean, 0.25 * kept[0] + 0.75 * kept[1], rtol=1e-6)
    assert np.array_equal(X, before) and all(map(np.array_equal, distances, kept))


def test_a_row_of_zeros_stays_one() -> None:
    rows = prepare(np.zeros((2, 13), np.float32), WIDTHS, TAPS)
    assert not rows.any()
    assert not squared_distances(rows, rows).any()


def test_a_tap_that_knows_nothing_gets_no_weight() -> None:
    y = np.arange(80) % 2
    telling = np.where(y[:, None] == 1, 1.0, -1.0) + 0.7 * RNG.normal(size=(80, 6))
    noise = RNG.normal(size=(80, 40))
    X = np.concatenate([telling, noise], axis=1)
    one = KernelRidge((6, 40), (FINAL, SECOND_ORDER)).fit(X, y)
    other = KernelRidge((40, 6), (FINAL, SECOND_ORDER)).fit(X[:, ::-1], y)
    assert one.tap_shares_[1] < 0.25 < 0.6 < other.tap_shares_[1]
    assert KernelRidge((6, 40), (FINAL, FINAL)).fit(X, y).tap_shares_.tolist() == [1.0]


def test_without_a_block_it_says_the_same_whatever_is_in_the_block() -> None:
    y = np.arange(40) % 2
    X = np.where(y[:, None] == 1, 1.0, -1.0) + RNG.normal(size=(40, 13))
    model = KernelRidge(WIDTHS, TAPS).fit(X, y)
    new = RNG.normal(size=(6, 13))
    for block, columns in enumerate((slice(0, 4), slice(4, 7), slice(7, 13))):
        other = new.copy()
        other[:, columns] = RNG.normal(size=other[:, columns].shape)
        said = [model.log_proba_without(rows, block) for rows in (new, other)]
        # Only how far the block is from all photos together is left of it.
        assert np.abs(np.exp(said[0]) - np.exp(said[1])).max() < 0.12
        np.testing.assert_allclose(np.exp(said[0]).sum(axis=1), 1)
    assert np.abs(model.predict_log_proba(new) - model.log_proba_without(new, 0)).max() > 0.05
