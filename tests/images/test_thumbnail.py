import numpy as np
import pytest

from manyeyes.images import thumbnail


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("shape", [(300, 400), (64, 64), (5, 900), (1, 1)])
@pytest.mark.parametrize("size", [64, 7])
def test_any_proportions_are_squashed_to_a_square(shape: tuple[int, int], size: int) -> None:
    small = thumbnail(noise(*shape), size)
    assert small.shape == (size, size, 3)
    assert small.dtype == np.uint8
    assert np.array_equal(small, thumbnail(noise(*shape), size))


def test_an_image_of_the_right_size_is_left_as_it_is() -> None:
    image = noise(64, 64)
    assert np.array_equal(thumbnail(image), image)


def test_fine_stripes_become_their_mean_and_not_a_pattern() -> None:
    stripes = np.zeros((640, 640, 3), np.uint8)
    stripes[:, ::2] = 255
    np.testing.assert_allclose(thumbnail(stripes), 127.5, atol=4)


def test_halves_stay_where_they_are() -> None:
    halves = np.zeros((100, 400, 3), np.uint8)
    halves[:, 200:] = 255
    small = thumbnail(halves)
    assert (small[:, :30] == 0).all() and (small[:, 34:] == 255).all()
