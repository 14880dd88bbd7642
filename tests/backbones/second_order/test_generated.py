"""Every projection hangs on these pixels: another photo would be another tap."""

import hashlib

import numpy as np

from manyeyes.backbones.second_order.generated import HEIGHT, WIDTH, generated_photos


def test_the_photos_are_always_the_same() -> None:
    photos = generated_photos(3)
    assert all((photo.shape, photo.dtype) == ((HEIGHT, WIDTH, 3), np.uint8) for photo in photos)
    assert hashlib.sha256(b"".join(photo.tobytes() for photo in photos)).hexdigest()[:16] == "0d39ab4d71ec20e3"


def test_a_longer_series_begins_with_a_shorter_one_and_repeats_nothing() -> None:
    short, long = generated_photos(2), generated_photos(4)
    assert [photo.tobytes() for photo in short] == [photo.tobytes() for photo in long[:2]]
    assert len({photo.tobytes() for photo in long}) == 4


def test_they_are_as_rough_as_photographs_at_every_scale() -> None:
    """The power of photographs falls about as the square of the frequency (Field, 1987)."""
    slopes = []
    for photo in generated_photos(6):
        grey = photo.mean(axis=2)
        power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(WIDTH), np.fft.fftfreq(HEIGHT)))
        within = (frequency > 0.02) & (frequency < 0.3)
        slopes.append(np.polyfit(np.log(frequency[within]), np.log(power[within]), 1)[0])
    assert -3 < np.mean(slopes) < -1.5
