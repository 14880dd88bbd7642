import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from manyeyes.backbones import preprocess
from manyeyes.backbones.card import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from manyeyes.backbones.preprocess import frame, normalise


def natural_photo(width: int, height: int) -> np.ndarray:
    """Noise whose amplitude falls with frequency, as it does in photos."""
    noise = np.random.default_rng(0).standard_normal((height, width, 3))
    layers = [2**octave * scipy.ndimage.gaussian_filter(noise, (2**octave, 2**octave, 0)) for octave in range(6)]
    field = sum(layers)
    pixels = 127 + 50 * (field - field.mean()) / field.std()
    return pixels.clip(0, 255).astype(np.uint8)


def resize_then_crop(photo: np.ndarray, size: int, crop: float, resampling: Image.Resampling) -> np.ndarray:
    """The two steps of torchvision's Resize and CenterCrop, as timm sets them up for evaluation, by Pillow."""
    image = Image.fromarray(photo)
    shorter, short = int(size / crop), min(image.size)
    width, height = (shorter if side == short else int(shorter * side / short) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.asarray(image.resize((width, height), resampling).crop((left, top, left + size, top + size)))


@pytest.mark.parametrize(
    "photo_size", [(500, 375), (375, 500), (301, 256), (640, 213), (257, 257), (150, 203), (2000, 300)]
)
@pytest.mark.parametrize(("size", "crop"), [(224, 0.875), (224, 1.0), (299, 0.875), (160, 0.95), (64, 0.5)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_one_resize_gives_what_resize_and_crop_give(photo_size, size, crop, interpolation):
    photo = natural_photo(*photo_size)
    framed = frame(photo, size, crop, interpolation)
    expected = resize_then_crop(photo, size, crop, Image.Resampling[interpolation.upper()])
    assert framed.shape == (size, size, 3)
    assert framed.dtype == np.uint8
    # torch and Pillow round differently; and Pillow rounds between its two passes, which may run over other regions.
    assert np.abs(framed.astype(float) - expected).mean() < 0.3


def test_a_wrong_crop_would_be_seen():
    photo = natural_photo(320, 240)
    expected = resize_then_crop(photo, 224, 0.875, Image.Resampling.BICUBIC)
    assert np.abs(frame(photo, 224, 0.95, "bicubic").astype(float) - expected).mean() > 3


def test_a_panorama_is_not_resized_as_a_whole(monkeypatch: pytest.MonkeyPatch):
    panorama = np.zeros((2, 200_000, 3), np.uint8)
    panorama[:, 99_990:100_010] = 255
    # The whole would take 256 × 25,600,000 × 3 bytes.
    monkeypatch.setattr(preprocess, "resize", lambda *given: pytest.fail("resized as a whole"))
    assert (frame(panorama, 224, 0.875, "bicubic") == 255).all()


def test_a_photo_of_the_right_size_stays_as_it_is():
    photo = natural_photo(64, 64)
    for interpolation in ("nearest", "bilinear", "bicubic", "lanczos"):
        np.testing.assert_array_equal(frame(photo, 64, 1.0, interpolation), photo)


@given(width=st.integers(1, 300), height=st.integers(1, 300), size=st.integers(1, 64), crop=st.floats(0.1, 1.0))
def test_every_shape_can_be_framed(width, height, size, crop):
    framed = frame(np.full((height, width, 3), [10, 20, 30], np.uint8), size, crop, "bicubic")
    np.testing.assert_array_equal(framed, np.broadcast_to([10, 20, 30], (size, size, 3)))


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_normalise_is_its_formula(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    normalised = normalise(pixels, Preprocessing(size=5, mean=IMAGENET_MEAN, std=IMAGENET_STD, channels=channels))
    assert normalised.shape == (2, 3, 5, 5)
    assert normalised.dtype == np.float32
    assert normalised.flags.c_contiguous
    for channel, source in enumerate("rgb".index(letter) for letter in channels):
        expected = (pixels[..., source] / 255 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        np.testing.assert_allclose(normalised[:, channel], expected, atol=1e-6)
