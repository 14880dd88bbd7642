import numpy as np
import pytest
import torch
from PIL import Image

from manyeyes.images.resize import resize
from manyeyes.threads import one_thread


def noise(height: int, width: int) -> np.ndarray:
    """Of middling contrast: nothing is clipped between the two passes, the order of which is anyone's choice."""
    return np.random.default_rng(0).integers(90, 166, (height, width, 3), np.uint8)


@pytest.mark.parametrize("shape", [(375, 500), (500, 375), (64, 64), (9, 900), (1, 1), (30, 20)])
@pytest.mark.parametrize("size", [(64, 64), (341, 256), (256, 341), (1, 5)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_it_gives_what_pillow_gives(shape: tuple[int, int], size: tuple[int, int], interpolation: str) -> None:
    photo = noise(*shape)
    resized = resize(photo, *size, interpolation)
    pillows = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling[interpolation.upper()]))
    difference = np.abs(resized.astype(int) - pillows)
    assert difference.mean() < 0.5 and difference.max() <= 2
    assert resized.flags.c_contiguous


def test_pixels_that_may_not_be_written_or_lie_apart_are_taken(recwarn: pytest.WarningsRecorder) -> None:
    photo = noise(60, 80)
    expected = resize(photo, 20, 15, "bicubic")
    locked = photo.copy()
    locked.flags.writeable = False
    apart = np.repeat(photo, 2, axis=1)[:, ::2]
    for same in (locked, apart, apart[::-1][::-1]):
        np.testing.assert_array_equal(resize(same, 20, 15, "bicubic"), expected)
    assert not recwarn


def test_the_number_of_threads_changes_nothing() -> None:
    photo = noise(700, 900)
    with one_thread():
        alone = resize(photo, 300, 200, "bicubic")
        torch.set_num_threads(4)
        np.testing.assert_array_equal(resize(photo, 300, 200, "bicubic"), alone)
