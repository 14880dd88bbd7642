"""A photo in small: what the gate of the paper looks at."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def thumbnail(image: Image.Image, size: int = 64) -> NDArray[np.uint8]:
    """Squash an RGB image to ``(size, size, 3)``, whatever its proportions, averaging over all of its pixels."""
    small = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    return np.array(small)
