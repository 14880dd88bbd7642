"""Generated photos with the statistics of real ones, to learn from what needs photos but no particular ones.

Dead leaves (Lee, Mumford, Huang, 2001): shapes of all sizes that lie one upon another, each lit and roughened by noise
that is as strong at every scale. Drawn by arithmetic alone, so that every machine gets the same.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from manyeyes.images.colour import Pixels

WIDTH, HEIGHT = 320, 240
LEAVES = 250
LARGEST = 130.0


@cache
def generated_photos(count: int) -> tuple[Pixels, ...]:
    """The first ``count`` photos of an endless series, RGB: (240, 320, 3)."""
    return tuple(_photo(np.random.default_rng(seed)) for seed in range(count))


def _photo(random: np.random.Generator) -> Pixels:
    canvas = np.empty((HEIGHT, WIDTH, 3))
    canvas[:] = random.uniform(0, 255, 3)
    for _ in range(LEAVES):
        _drop_leaf(canvas, random)
    noise = _noise(random)[:, :, None]
    lit = canvas * (1 + 0.15 * noise) + 8 * noise
    return np.clip(lit, 0, 255).astype(np.uint8)


def _drop_leaf(canvas: npt.NDArray[np.float64], random: np.random.Generator) -> None:
    # As many leaves of one size as keeps the picture alike at all scales; the largest are cut off.
    radius = min(12 / (random.random() + 0.02), LARGEST)
    x, y = random.uniform(0, WIDTH), random.uniform(0, HEIGHT)
    left, right = max(int(x - radius), 0), min(int(x + radius) + 2, WIDTH)
    top, bottom = max(int(y - radius), 0), min(int(y + radius) + 2, HEIGHT)
    rows, columns = np.mgrid[top:bottom, left:right]
    turn = random.uniform(0, np.pi)
    along = (columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)
    across = ((rows - y) * np.cos(turn) - (columns - x) * np.sin(turn)) / random.uniform(0.2, 1)
    outlines = (
        along**2 + across**2 < radius**2,
        np.maximum(abs(along), abs(across)) < 0.7 * radius,
        (along > -0.5 * radius) & (along + 2 * abs(across) < 0.8 * radius),
    )
    colour = np.clip(random.uniform(20, 235) + random.normal(0, 40, 3), 0, 255)
    canvas[top:bottom, left:right][outlines[random.integers(3)]] = colour


def _noise(random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise whose amplitude falls as one over the frequency, as in photographs; of mean 0 and deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None, :])
    spectrum = np.fft.rfft2(random.normal(size=(HEIGHT, WIDTH))) / np.maximum(frequency, 1 / WIDTH)
    noise = np.fft.irfft2(spectrum, (HEIGHT, WIDTH))
    normalised: npt.NDArray[np.float64] = (noise - noise.mean()) / noise.std()
    return normalised
