"""Photos of many megapixels, made of small ones."""

from pathlib import Path

import numpy as np
from PIL import Image

GRAIN = 6  # grey levels up or down: what a camera adds, and what makes large JPEGs large


def enlarged(path: str | Path, megapixels: float, folder: Path, odd: bool = False) -> Path:
    """A JPEG with grain in ``folder``: its sides are multiples of 16, as cameras make them, or ``odd``."""
    with Image.open(path) as photo:
        scale = (megapixels * 1e6 / (photo.width * photo.height)) ** 0.5
        width, height = (round(side * scale / 16) * 16 - odd for side in photo.size)
        large = photo.convert("RGB").resize((width, height))
    grain = np.random.default_rng(0).integers(-GRAIN, GRAIN + 1, (height, width, 3), np.int8)
    target = folder / f"{len(list(folder.iterdir())):06}.jpg"
    Image.fromarray((np.asarray(large, np.int16) + grain).clip(0, 255).astype(np.uint8)).save(target, quality=90)
    return target
